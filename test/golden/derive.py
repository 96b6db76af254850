#!/usr/bin/env python3
"""Derives uuid.json and integer.json: what the reference of the contract answers to the text of a parameter.

Derived by pydantic 2.13.4 (pydantic-core 2.46.4); any 2.13 must give the same.

    derive.py           writes the two files beside this script
    derive.py --check   says whether they are what pydantic answers now; exit code 1 if not

Each file is an object of groups of cases, one case per line.

- A text is a JSON string or, to keep long ones short, a list of parts: a part is a string or [string, repeats].
- uuid.json: `input`, and `value` (canonical form) or `error`.
- integer.json: `input`, and for each of `limit` and `page_number` a `value` (decimal digits) or an `error`.
- An error has the keys of the contract but `loc`, in the contract's order.
- `"compare": "kind"`: the contract asks only for the kind of the error in ctx.error, which is its text before the
  first ":" and before " in group".
"""

import json
import pathlib
import sys
from itertools import groupby
from typing import Annotated
from uuid import UUID

import pydantic
from pydantic import Field, TypeAdapter, ValidationError

FOLDER = pathlib.Path(__file__).parent
LISTED_CTX = {'uuid_parsing': ['error'], 'less_than_equal': ['le'], 'greater_than_equal': ['ge']}
INTEGERS = {
    'limit': TypeAdapter(Annotated[int, Field(ge=0, le=100)]),
    'page_number': TypeAdapter(Annotated[int, Field(ge=1)]),
}

WHITE_SPACE = ('\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
               '\u2028\u2029\u202f\u205f\u3000')
# Look like white space, or are their neighbours, and are none; U+001C to U+001F are white space to Python alone.
NEAR_MISSES = ('\0\x08\x0e\x1c\x1d\x1e\x1f\x7f\x84\x86\xad\u115f\u180e\u200b\u200c\u200d\u200e\u2027\u202a\u2060'
               '\u2800\u3164\ufeff\ufffd')

ID = '6f9619ff-8b86-d011-b42d-00c04fc964ff'
DIGITS = ID.replace('-', '')
GROUPS = ID.split('-')


def uuid_groups():
    """The inputs for a uuid, by subject."""
    return {
        'accepted': [
            ID, ID.upper(), '6F9619ff-8B86-d011-B42D-00c04FC964fF', DIGITS, DIGITS.upper(),
            '6F9619FF8b86d011b42d00c04fc964ff', '{' + ID + '}', '{' + ID.upper() + '}', 'urn:uuid:' + ID,
            'urn:uuid:' + ID.upper(), '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
            'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF', '00000000000000000000000000000001',
            '{00000000-0000-0000-0000-000000000000}', '019a0000-0000-7000-8000-000000000001',
            '12345678-1234-1234-1234-123456789012',
        ],
        'length of the simple form': [
            *(DIGITS[:length] for length in (1, 2, 8, 16, 30, 31)),
            *(DIGITS + extra for extra in ('0', '00', 'ffff', '000000')), DIGITS * 2, DIGITS + DIGITS[:13],
            '0', '1' * 35, '1' * 36, '1' * 38, '1' * 45, [['a', 100]], [['0', 5000]],
        ],
        'length of a group': [
            with_group(index, change(GROUPS[index]))
            for index in range(5)
            for change in (lambda g: g[:-1], lambda g: g + '0', lambda g: '', lambda g: g + g, lambda g: g[0])
        ] + [
            '6f9619f-f8b86-d011-b42d-00c04fc964ff', '6f9619ff-8b8-6d011-b42d-00c04fc964ff',
            '6f9619ff-8b86-d01-1b42d-00c04fc964ff', '6f9619ff-8b86-d011-b42-d00c04fc964ff',
            '6f9619ff-8b86-d0111-b42d-00c04fc964f', '----', '-' * 4 + DIGITS, DIGITS + '----', 'a-b-c-d-e',
            '1-1-1-1-1', ['6f9619ff-8b86-d011-b42d-', ['0', 5000]],
        ],
        'count of groups': [
            DIGITS[:16] + '-' + DIGITS[16:], '6f9619ff8b86-d011-b42d-00c04fc964ff',
            '6f9619ff-8b86d011-b42d-00c04fc964ff', '6f9619ff-8b86-d011b42d-00c04fc964ff',
            '6f9619ff-8b86-d011-b42d00c04fc964ff', '6f9619ff-8b86-d011b42d00c04fc964ff', ID + '-', '-' + ID,
            ID + '-0', '-' + DIGITS, DIGITS + '-', '-', '--', '---', '-----', '------', '-a', 'a-', 'a-b', 'a-b-c',
            'a-b-c-d', 'a-b-c-d-e-f', '-'.join(DIGITS), ID + '-' + ID, '6f9619ff--8b86-d011-b42d-00c04fc964ff',
            '6f9619ff-8b86-d011-b42d-00c04fc9-64ff', '6f96-19ff-8b86-d011-b42d-00c0-4fc9-64ff', [['-', 3000]],
            [['a-', 2000]],
        ],
        'characters': [
            'x' + ID[1:], ID[:-1] + 'x', ID[:18] + 'G' + ID[19:], 'g' + DIGITS[1:], DIGITS[:-1] + 'G', DIGITS + 'g',
            'x', 'not-a-uuid', 'None', 'null', 'x' * 32, 'x' * 36, ID.replace('-', '_'), ID.replace('-', ':'),
            ID.replace('-', ' '), ID.replace('-', '\u2010'), ID.replace('-', '\u2212'), '0x' + DIGITS,
            DIGITS[:16] + '.' + DIGITS[16:], '"' + ID + '"', "'" + ID + "'", '`' + ID[1:], '\\' + ID[1:],
            ID[:8] + '/' + ID[9:], ID + ',' + ID, ID + '?', ID + '#', ID + '%', ID + '&a=b', ID + '=', '[' + ID + ']',
            '(' + ID + ')', '<' + ID + '>', '@' + ID[1:], 'G' + ID[1:], '`', '/', ':' + ID[1:], '1g-', 'g-----', '-g',
            '-----g', [['a', 3000], 'g'], [['-', 3000], 'g'],
        ],
        'multi-byte characters': [
            'é' + ID[1:], ID[:-1] + 'é', ID[:10] + 'é' + ID[11:], 'é' * 16, 'é' * 18, '日' + ID[1:], ID[:-1] + '日',
            ID + '日', ID[:-3] + '日', DIGITS[:-3] + '日', '😀' + ID[1:], ID[:20] + '😀' + ID[21:], ID + '😀',
            DIGITS[:-4] + '😀', ID[:-4] + '😀', '😀' * 8, '😀' * 9, '😀', 'ß', '\u0661' + ID[1:], '\uff11' + ID[1:],
            '\uff41' + ID[1:], '\ufffd' + ID[1:], ID + '\ufffd\ufffd', '\u0301' + ID[1:], '6\u0301' + ID[1:],
            '\u2028' + ID[1:], '\U0010ffff' + ID[1:], 'x' + 'é' + ID[2:], 'é' + 'x' + ID[2:], '\u0141' + ID[1:],
            '\u0430' + ID[1:], 'ａ' * 32,
        ],
        'control characters': [
            '\0', '\0' + ID, ID + '\0', ID[:-1] + '\0', ID[:8] + '\0' + ID[9:], DIGITS + '\0', '\0' * 32, '\0' * 36,
            ID + '\0x', '\x01' + ID, ID + '\x1b', '\x7f' + ID[1:], ID[:5] + '\x80' + ID[6:], ID[:5] + '\x9f' + ID[6:],
        ],
        'white space and near misses at both ends': [
            spelled for c in WHITE_SPACE + NEAR_MISSES.replace('\0', '') for spelled in (c + ID, ID + c)
        ] + [
            ' ', '  ', '\t', ' ' + DIGITS, DIGITS + ' ', ' {' + ID + '}', '{' + ID + '} ', ' urn:uuid:' + ID,
            ' ' + ID + ' ', '6f9619ff -8b86-d011-b42d-00c04fc964ff',
        ],
        'braces unbalanced or misplaced': [
            '{' + ID, ID + '}', '}' + ID + '{', '{' + DIGITS, DIGITS + '}', '{', '}', '}{', '{{', '{' + ID + ')',
            '(' + ID + '}', '[' + ID + '}', ID[:8] + '{' + ID[8:], ID[:8] + '}' + ID[8:], '{' + ID + '}0',
            '0{' + ID + '}', '{' + ID + '}\0', '{' + ID + '}-',
        ],
        'braced: only the kind of the error matters': [
            '{' + inner + '}' for inner in (
                '', DIGITS, DIGITS[:-1], DIGITS + '0', ID[:-1], ID + '0', ID[1:], '0' + ID, 'x' + ID[1:],
                ID[:-1] + 'x', 'é' + ID[1:], ID[:-1] + 'é', '6f9619ff8b86-d011-b42d-00c04fc964ff', ID + '-', '-' + ID,
                '-', '----', '-----', 'a', 'x', ' ' + ID, ID + ' ', ' ', '\0', '😀', '{' + ID + '}', 'urn:uuid:' + ID,
                '{', '}', '6f9619ff-8b8-d011-b42d-00c04fc964ff', '6f9619ff-8b860-d011-b42d-00c04fc964ff',
                '6f9619ff-8b86-d0-b42d-00c04fc964ff', '6f9619ff-8b86-d011-b42d0-00c04fc964ff', '1' * 34, '1' * 36,
                DIGITS + '0000', 'g' * 36)
        ],
        'urn: only the kind of the error matters': [
            'urn:uuid:' + rest for rest in (
                '', DIGITS, DIGITS[:-1], DIGITS + '0', ID[:-1], ID + '0', ID[1:], 'x' + ID[1:], ID[:-1] + 'x',
                'é' + ID[1:], ID + 'é', '6f9619ff8b86-d011-b42d-00c04fc964ff', ID + '-', '-', '----', '-----', 'a',
                'x', ' ' + ID, ID + ' ', '\0', '😀', '{' + ID + '}', 'urn:uuid:' + ID, '}',
                '6f9619ff-8b8-d011-b42d-00c04fc964ff', '6f9619ff-8b86-d0111-b42d-00c04fc964ff', '1' * 36,
                DIGITS + '0000')
        ],
        'urn misspelled': [
            'URN:UUID:' + ID, 'Urn:uuid:' + ID, 'urn:UUID:' + ID, 'urn:Uuid:' + ID, 'urn:uuid' + ID, 'urn:uuid',
            'urn:', 'urn', 'u', 'uuid:' + ID, 'urn:guid:' + ID, 'urn-uuid-' + ID, 'urn\uff1auuid\uff1a' + ID,
            'urn::uuid:' + ID, 'urn.uuid.' + ID, 'a:uuid:' + ID, 'abc:uuid:' + ID,
        ],
    }


def with_group(index, text):
    return '-'.join(GROUPS[:index] + [text] + GROUPS[index + 1:])


def integer_groups():
    """The inputs for an integer, by subject."""
    return {
        'plain': [*map(str, (0, 1, 2, 5, 9, 10, 11, 42, 99, 100, 101, 102, 110, 999, 1000))],
        'signs': [
            '+0', '-0', '+1', '-1', '+5', '-5', '+100', '-100', '+101', '-101', '-00', '+00', '-01', '+01', '-007',
            '+007', '+', '-', '++1', '--1', '+-1', '-+1', '+ 1', '- 1', '1+', '1-', '1-1', '1+1', '\u22121',
            '\u20101', '\uff0b1', '\uff0d1', '\u00b11', '+\u00a01', '-\n1', '+-0', '-+0', '--', '++', '+-',
        ],
        'leading zeros': [
            '00', '000', '01', '001', '007', '010', '0100', '00100', '0101', '00000000000000000000001', [['0', 100]],
            [['0', 4299], '1'], [['0', 4300]], [['0', 4300], '1'], [['0', 4301]], [['0', 5000], '7'],
            [['0', 5000], '101'], ['-', ['0', 5000]], ['-', ['0', 5000], '1'], ['+', ['0', 5000], '1'],
            [['0', 5000], 'x'], [['0', 5000], '.5'], [['0', 5000], '.0'],
        ],
        'underscores': [
            '1_0', '1_0_0', '1_00', '10_0', '1_0_1', '1_000', '1_000_000', '0_1', '0_0', '0_0_1', '00_1', '0_10',
            '0_10_0', '+1_0', '-1_0', '+0_1', '-0_1', '-0_0', '_1', '1_', '_', '__', '___', '_0', '0_', '0__', '+_1',
            '-_1', '+1_', '-1_', '-0_', '+_', '-_', '_+1', '_-1', '1__0', '1___0', '10__0', '1_0__0', '0_10__0',
            '_1_0', '1_0_', '__1', '1__', '_1_', '_ 1', '1 _', '1_ 0', '1 _0', '\uff3f1', '1\uff3f0', '1\u203f0',
            '1\u20540', '1-_0',
        ],
        # The reference skips any underscores among leading zeros; the contract's own words ("single underscores
        # between digits") read stricter.
        'several underscores among leading zeros': [
            '0__0', '0__1', '0___1', '00__1', '0__10', '0_0__1', '+0__1', '-0__1', '-0__0', '0__1.0', '0__0.0', '0__1_0',
            '0__1__0', [['0', 5000], '__1'],
        ],
        # The reference takes a minus after leading zeros for the sign; the contract's own words put the sign first.
        'a minus after leading zeros': [
            '0-0', '0-5', '00-5', '0_-5', '0_0-5', '0__-5', '+0-5', '+0-0', '-0-5', '-0-0', '0-101', '0-05', '0-00',
            '0--5', '0+5', '0-+5', '0-_5', '0-_0', '0-1_0', '0-1__0', '0-1.0', '0-0.0', '0-5.5', '0-', '0-x', '0-0-5',
            '0.-5', '1-0', ['0-', ['1', 4299]], ['0-', ['1', 4300]],
        ],
        'fractions': [
            '10.0', '10.00', '0.0', '0.00', '1.0', '5.000000000000000000000', '100.0', '100.000', '101.0', '+1.0',
            '-1.0', '-0.0', '+0.00', '00.0', '01.0', '-00.0', '0_0.0', '1_0.0', '1_0_0.00', '0_1.0', '10.', '0.',
            '.0', '.', '..', '.5', '+.0', '-.0', '-.', '10.5', '0.5', '-0.5', '100.5', '100.1', '10.01', '10.10',
            '0.00000000000000000000001', '10.0.0', '0.0.0', '1..0', '0..0', '10..', '1.0_0', '10.0_', '10._0',
            '10_.0', '0_.0', '0__.0', '_.0', '1.+0', '1.-0', '1.0-', '10. 0', '10 .0', '10.0 ', ' 10.0', '10,0',
            '1,000', '1.000,0', '1\u066b0', '1\uff0e0', '1.\u0660', '1.0x', '1.x', '1.0e0', '1.0e1',
            ['1.', ['0', 4300]], ['1.', ['0', 5000]], ['1.', ['0', 5000], '5'], ['1.', ['5', 5000]],
            ['-1.', ['0', 5000]], ['1_0.', ['0', 5000]], ['0.', ['0', 5000]], ['101.', ['0', 5000]],
        ],
        'exponents, other bases and other words': [
            '1e1', '1E1', '1e0', '0e0', '1e+1', '1e-1', '1e400', '10e', 'e1', '0e1', '1e', '0.0e1', '1.e1', '0x10',
            '0X10', '0x', 'x10', '0b1', '0B1', '0o7', '0O7', '10h', '1f', '10L', '10l', '1u', '1n', '1j', '$1', '1%',
            '%31', '1$', '#1', '0x0', '0b0', '0o0', 'true', 'True', 'TRUE', 'false', 'False', 'yes', 'no', 'on',
            'null', 'None', 'none', 'nil', 'undefined', 'nan', 'NaN', 'inf', '-inf', '+inf', 'Infinity', '-Infinity',
            'infinity', 'abc', 'ten', 'a', '"1"', "'1'", '[1]', '[]', '{}', '(1)', '1/1', '1/2', '1*1', '1=1', '=1',
            '1;1', '1&1', '1:1', '1?1', '1\\0', '\\1', '1\0', '\x001', '1\x000', '\0', '1 0', '1 1', '5 5', '1\n0',
            '1\u00a00', '1,0', '1|0', '1e1_0', '!', '*', '?',
        ],
        'digits of other scripts': [
            '\u0661', '\u0660', '\u06f1', '\u0967', '\u09e7', '\u0e51', '\u1041', '\uff11', '\uff10', '1\u0660',
            '\u06611', '1\uff10', '\u00b2', '\u00b9', '\u00bd', '\u2081', '\u2160', '\u2168', '\u2460', '\u4e00',
            '\u5341', '\u3007', '\U0001d7cf', '\U0001d7d8', '\U0001d7ec', '1\U0001d7ce', '-\u0661', '\u0661\u0660',
            '1é', 'é', '1日', '日1', '1😀', '😀', '1\u0301', '\u03011', '\ufffd', '1\ufffd',
        ],
        'white space at both ends': [spelled for c in WHITE_SPACE for spelled in (c + '5', '5' + c)] + [
            ' ', '  ', '\t', '\n', '\u00a0', '\u3000', ' 5 ', '  5  ', '\t5\t', '\r\n5\r\n', '\u30005\u3000',
            '\u00a0\u20075\u202f', ' +5 ', ' -0 ', ' 101 ', ' 1_0 ', ' 10.0 ', ' 00 ', ' + 5', '+ ', ' +', ' x ',
            ' 5 x', ' 1__0 ', ' 1 0 ', [[' ', 5000], '5'], ['5', [' ', 5000]],
            [['\u3000', 300], '5', ['\u2003', 300]], [[' ', 5000]],
        ],
        'near misses of white space at both ends': [
            *(spelled for c in NEAR_MISSES for spelled in (c + '5', '5' + c)), '\u200b', '\ufeff', ' \u200b5', '\ufeff 5',
        ],
        'limits of the machine': [
            '127', '128', '255', '256', '32767', '32768', '65535', '65536', '2147483647', '2147483648', '-2147483648',
            '-2147483649', '4294967295', '4294967296', '4294967297', '9007199254740993', '9223372036854775806',
            '9223372036854775807', '9223372036854775808', '9223372036854775809', '-9223372036854775807',
            '-9223372036854775808', '-9223372036854775809', '18446744073709551615', '18446744073709551616',
            '18446744073709551617', '-18446744073709551616', '18446744073709551621', '36893488147419103232',
            '340282366920938463463374607431768211455', '340282366920938463463374607431768211456',
            '340282366920938463463374607431768211461', '+9223372036854775807', '+9223372036854775808',
            '0009223372036854775807', '0009223372036854775808', '9_223_372_036_854_775_807',
            '9_223_372_036_854_775_808', '9223372036854775807.0', '9223372036854775808.00', ' 9223372036854775808 ',
            '-0009223372036854775809', '100000000000000000000', '-100000000000000000000', '1' * 100, '-' + '1' * 100,
            '1' + '0' * 99, '9223372036854775808x', '9223372036854775808_', '9223372036854775808.5',
            '9223372036854775808e0',
        ],
        'up to 4,300 digits': [
            *with_ones(4299, ['N', '+N', '-N', '0N', '000N', '+0N', '-0N', ' N', 'N ', 'N.0', '+N.0', '-N.0', 'N.5', 'N.',
                              'Nx', 'xN', 'N_', '_N', 'Ne1', 'N.0x', '1_N', '1__N', '1_N.0', '1_N.5']),
            *with_ones(4300, ['N', '+N', '0N', '000N', '+0N', ' N', 'N ', 'N.0', '+N.0', 'N.5', 'N.', 'Nx', 'xN', 'N_',
                              '_N', 'Ne1', 'N.0x']),
            [['1_', 4299], '1'], ['-', ['1_', 4298], '1'], ['+', ['1_', 4299], '1'], [['9', 4300]], ['1', ['0', 4299]],
        ],
        # A minus counts as a digit to the reference; the contract's own words read otherwise.
        'a minus and 4,300 digits': [
            *with_ones(4300, ['-N', ' -N ', '-0N', '-N.0', '-N.5', '-Nx', '-N_']), ['-', ['1_', 4299], '1'],
            ['-1_', ['1', 4299]],
        ],
        'over 4,300 digits': [
            *with_ones(4301, ['N', '-N', ' N', 'N ', '\u3000N', 'N.0', 'N.00000', '-N.0', ' -N ']),
            *with_ones(4302, ['N', '-N', ' N', 'N ', 'N.0', '-N.0']),
            [['9', 4301]], ['1', ['0', 4300]], [['1', 6000]], ['-', ['1', 6000]], [['1', 10000]],
            [['1', 4301], '.', ['0', 1000]],
        ],
        # The reference finds the size of a plain number before it sees what follows the 4,301st digit, and a
        # malformed beginning before the size.
        'over 4,300 digits and malformed': [
            *with_ones(4301, ['Nx', 'N.5', 'N.', 'N_', 'N__1', 'N_1x', 'Ne1', 'N 1', 'N\0', 'Né', 'N.0.0', 'N-',
                              'N\u200b', '-Nx', '-N.5', ' Nx', 'xN', '_N', '+-N', '--N', '++N', '\u200bN', '- N', '.N',
                              '0xN', '1__N', '1.N', '1.5N', '1xN', '1 N', '\0N', '$N']),
            *with_ones(4300, ['NxN', 'N_x', 'N_11x']), *with_ones(2500, ['NxN', 'N_xN', 'N__N']),
            [['x', 4301]], [['_', 4301]], [['.', 4301]], [['1.', 3000]], [['1_', 3000]], [['1__', 2000], '1'],
        ],
        # A plus, leading zeros or underscores with too many digits are malformed to the reference, not too large.
        # The contract's own words ("over 4,300 digits, leading zeros and the fraction not counted") read otherwise.
        'over 4,300 digits after a plus, zeros or underscores': [
            *with_ones(4301, ['+N', '0N', '000N', '+0N', '-0N', '0_N', '+N.0', '0N.0', '+N.5', '0N.5', '+Nx', '0Nx',
                              ' +N', 'N_1']),
            *with_ones(4300, ['1_N', '1_N.0', '1_N.5', 'N_1']),
            [['1_', 4300], '1'], ['-', ['1_', 4300], '1'], [['0', 1000], ['1', 4301]],
        ],
    }


def with_ones(count, templates):
    """Returns the templates as texts, with that many ones in the place of each N."""
    texts = []
    for template in templates:
        first, *others = template.split('N')
        parts = [first]
        for other in others:
            parts += [['1', count], other]
        texts.append([part for part in parts if part != ''])
    return texts


def expand(text):
    """Returns the plain string of a text that may be a list of parts."""
    if isinstance(text, str):
        return text
    return ''.join(part if isinstance(part, str) else part[0] * part[1] for part in text)


def compact(text):
    """Returns a long string as a list of parts, by its runs of one character."""
    if len(text) <= 200:
        return text
    parts = []
    for character, run in groupby(text):
        length = len(list(run))
        if length > 20:
            parts.append([character, length])
        elif parts and isinstance(parts[-1], str):
            parts[-1] += character * length
        else:
            parts.append(character * length)
    return parts


def ask(adapter, text):
    """Returns what pydantic makes of a text: {"value": ...} or {"error": ...}."""
    try:
        value = str(adapter.validate_python(expand(text)))
    except ValidationError as refusal:
        [error] = refusal.errors(include_url=False)
        assert error['input'] == expand(text)
        answer = {'type': error['type'], 'msg': error['msg'], 'input': text}
        ctx = {key: error['ctx'][key] for key in LISTED_CTX.get(error['type'], [])}
        return {'error': answer | ({'ctx': ctx} if ctx else {})}
    return {'value': compact(value)}


def uuid_case(text):
    case = {'input': text} | ask(TypeAdapter(UUID), text)
    plain = expand(text)
    if 'error' in case and (plain.startswith('urn:uuid:') or plain.startswith('{') and plain.endswith('}')):
        case['compare'] = 'kind'
    return case


def integer_case(text):
    return {'input': text} | {name: ask(adapter, text) for name, adapter in INTEGERS.items()}


def render(groups, make_case):
    """Returns the text of a golden file."""
    inputs = [expand(text) for texts in groups.values() for text in texts]
    repeated = sorted({text[:60] for text in inputs if inputs.count(text) > 1})
    assert not repeated, f'given twice: {repeated}'
    return '{\n' + ',\n'.join(
        json.dumps(name) + ': [\n' + ',\n'.join(json.dumps(make_case(text),
        ensure_ascii=True) for text in texts) + '\n]'
        for name, texts in groups.items()) + '\n}\n'


def main(arguments):
    if arguments not in ([], ['--check']):
        sys.exit(__doc__)
    if not pydantic.VERSION.startswith('2.13.'):
        sys.exit(f'derive.py needs pydantic 2.13, and this is {pydantic.VERSION}')
    # Python's own limit concerns the text of the values alone.
    sys.set_int_max_str_digits(0)
    texts = {'uuid.json': render(uuid_groups(), uuid_case), 'integer.json': render(integer_groups(), integer_case)}
    if not arguments:
        for name, text in texts.items():
            (FOLDER / name).write_text(text, encoding='ascii')
        return
    stale = [name for name, text in texts.items() if (FOLDER / name).read_text(encoding='ascii') != text]
    if stale:
        sys.exit(f'not what pydantic {pydantic.VERSION} answers: {", ".join(stale)}; run derive.py')
    print(f'what pydantic {pydantic.VERSION} answers: {", ".join(texts)}')


if __name__ == '__main__':
    main(sys.argv[1:])
