# What dev/demo says to arguments that make no sense: a sentence, and the status 2, before it installs or starts anything.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;

my $demo = dirname(__FILE__) . '/../../dev/demo';
my $folder = PostgreSQL::Test::Utils::tempdir();
mkdir "$folder/$_" or die "$_: $!" for 'empty', 'hollow', 'hollow/within', 'full', '-x';
append_to_file("$folder/full/file", 'text');
append_to_file("$folder/-x/file", 'text');
mkdir "$folder/closed", 0 or die "closed: $!";
mkdir "$folder/unlisted", 0300 or die "unlisted: $!";
mkdir "$folder/$_" or die "$_: $!" for 'part', 'linked';
mkdir "$folder/part/closed", 0 or die "closed: $!";
symlink "$folder/full/file", "$folder/linked/file" or die "linked: $!";

foreach my $case (
	[ [''], "the folder's name is empty" ],
	[ ["$folder/missing"], "there is no folder $folder/missing" ],
	[ ["$folder/full/file"], "$folder/full/file is a file, and no folder" ],
	[ ["$folder/empty"], "there is no file in the folder $folder/empty" ],
	[ ["$folder/hollow"], "there is no file in the folder $folder/hollow" ],
	[ ["$folder/closed"], "the folder $folder/closed cannot be entered: permission denied" ],
	[ ["$folder/unlisted"], "no file in the folder $folder/unlisted can be seen: permission denied" ],
	[ ["$folder/part"], "no file in the folder $folder/part can be seen: permission denied" ],
	[ ["$folder/linked"], "there is no file in the folder $folder/linked" ],
	[ ['-x'], 'there is no option -x, only --serve and --postgrest; a folder of that name is ./-x' ],
	[ [ '--serve', '--postgres' ], 'there is no option --postgres, only --serve and --postgrest; a folder of that name is ./--postgres' ],
	[ [ '--serve', '' ], "the folder's name is empty" ],
	[ [ "$folder/full", "$folder/full" ], 'it takes one folder, and 2 are given' ])
{
	my ($arguments, $sentence) = @$case;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'env', "--chdir=$folder", File::Spec->rel2abs($demo), @$arguments ], \undef, \$out, \$err);
	is($? >> 8, 2, "dev/demo '@$arguments' ends with 2");
	is("$out$err", "dev/demo: $sentence\n", 'and says why');
}
chmod 0700, map { "$folder/$_" } 'closed', 'unlisted', 'part/closed';

done_testing();
