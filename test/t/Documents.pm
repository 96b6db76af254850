# Running what documents show, for 017_documents.pl and 018_recipes.pl.
#
# A block in a document has a language. sql: run by psql; a block of text behind it is a part of the output. console: commands behind "$ " with
# their output, run by bash. conf: settings of the server. python: a program whose function work() the test gives. sh: commands without
# output, run by bash in the folder of the sources.
package Documents;
use strict;
use warnings;

use parent 'Exporter';
use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($root blocks_of feed run_console run_python run_sql shows);

our $root = dirname(__FILE__) . '/../..';

# Returns the blocks of a document: [language, text].
sub blocks_of
{
	my ($document) = @_;
	my @parts = slurp_file("$root/$document") =~ /^```(\w*)\n(.*?)^```$/msg;
	my @blocks;
	push @blocks, [ splice(@parts, 0, 2) ] while @parts;
	return @blocks;
}

# What differs from run to run, or between versions of libmicrohttpd, and how it is laid out.
sub comparable
{
	my ($text) = @_;
	$text =~ s/\r//g;
	$text =~ s/^(?:Date|Content-Length|Connection):.*\n//mg;
	$text =~ s/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g;
	$text =~ s/\d{4}-\d\d-\d\dT[\d:.]+Z/TIME/g;
	$text =~ s/"[0-9a-f]{16}"/ETAG/g;
	$text =~ s/PID \d+/PID/g;
	$text =~ s/^[-+]+$//mg;
	$text =~ s/\s+//g;
	return $text;
}

sub shows
{
	my ($out, $expected, $what) = @_;
	ok(index(comparable($out), comparable($expected)) >= 0, "$what gives what is shown") or diag("shown:\n${expected}given:\n$out");
}

# Gives what came out after each mark; 0 is before the first.
sub outputs
{
	return split /^<<\d+>>\n/m, shift;
}

# Runs a command that reads a text, in the folder of the sources; it must succeed. Returns what it says.
sub feed
{
	my ($what, $text, @command) = @_;
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'env', "--chdir=$root", @command ], \$text, \$out, \$err), "runs: $what") or diag("$out$err");
	return wantarray ? ($out, $err) : $out;
}

# Runs the blocks of SQL in one session of psql, in the database files; returns their outputs.
sub run_sql
{
	my ($node, $name, @blocks) = @_;
	my @texts = map { $_->[1] } grep { $_->[0] eq 'sql' } @blocks;
	return () unless @texts;
	my $n = 0;
	my ($status, $out, $err) = $node->psql('files', join('', map { '\echo <<' . ++$n . ">>\n$_" } @texts),
		on_error_stop => 1, extra_params => [qw(-P format=aligned -P tuples_only=off -P footer=off)]);
	is("$status: $err", '0: ', "$name: its SQL runs");
	(undef, my @outputs) = outputs($out);
	$n = -1;
	for my $i (0 .. $#blocks)
	{
		$n++ if $blocks[$i][0] eq 'sql';
		shows($outputs[$n], $blocks[$i][1], "$name, block $n of SQL") if $blocks[$i][0] eq 'text' && $i > 0 && $blocks[$i - 1][0] eq 'sql';
	}
	return @outputs;
}

# Runs the commands of a document in one shell, with the port that is served here.
sub run_console
{
	my ($node, $port, $name, @blocks) = @_;
	my @commands = map { split /^\$ /m } map { $_->[1] =~ s/^\$ //r } grep { $_->[0] eq 'console' } @blocks;
	my $script = qq{set -eu
		curl() { command curl --disable --noproxy '*' --silent --show-error --max-time 60 "\${\@//127.0.0.1:8080/127.0.0.1:$port}"; }
		psql() { command psql --no-psqlrc --set=ON_ERROR_STOP=1 "\$@"; }\n};
	my $n = 0;
	for my $command (@commands)
	{
		my ($line) = split /\n/, $command, 2;
		$script .= "printf '\\n<<%d>>\\n' " . ++$n . "\n$line\n";
	}
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
	my ($out, $err) = feed("$name: its commands", '', 'bash', '-c', $script);
	is($err, '', 'and they complain of nothing');
	(undef, my @outputs) = outputs("\n$out\n");
	is(scalar @outputs, scalar @commands, "$name: to the last");
	for my $i (0 .. $#commands)
	{
		my ($line, $expected) = split /\n/, $commands[$i], 2;
		shows($outputs[$i], $expected, "$name: $line") if $expected ne '';
	}
}

# Runs programs until they work on a file.
sub run_python
{
	my ($node, $name, @blocks) = @_;
	for my $block (grep { $_->[0] eq 'python' } @blocks)
	{
		$node->safe_psql('files', q{SELECT FROM session_files.register_files(session_files.create_session((SELECT min(name) FROM session_files.workspaces)), '{one}')});
		local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
		my ($out, $err) = feed("$name: its program", "def work(db, files):\n    print(len(files))\n    raise SystemExit\n\n$block->[1]", '/usr/bin/python3', '-');
		is("$err$out", "1\n", 'and it gets a file');
	}
}

1;
