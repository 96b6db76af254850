"""Tokens and keys, good and bad; signed by Python's jwcrypto, or by hand where no library would make such a token.

What is right is what PostgREST 12.0.2 says, and in its words. On purpose stricter are: algorithms other than HS256, RS256, ES256; kid,
which PostgREST does not look at; a member named twice; NUL in a string; null as a time or an audience; a role that is no string; b64;
nesting; keys that are too short; a secret that begins with a brace and is no key.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import pytest
from jwcrypto import jwk, jws

NOW = 1_700_000_000
SECRET = 'correct horse battery staple 1234'
LEAST, MOST = -2**63, 2**63 - 1
HS256 = {'alg': 'HS256', 'typ': 'JWT'}
RFC = json.loads((pathlib.Path(__file__).parent / 'rfc7515.json').read_text())

RSA = jwk.JWK.generate(kty='RSA', size=2048, kid='rsa')
RSA_OTHER = jwk.JWK.generate(kty='RSA', size=2048, kid='other')
RSA_WEAK = jwk.JWK.generate(kty='RSA', size=1024)
EC = jwk.JWK.generate(kty='EC', crv='P-256', kid='ec')
EC_384 = jwk.JWK.generate(kty='EC', crv='P-384')
OCT = jwk.JWK.generate(kty='oct', size=256, kid='oct')
OKP = jwk.JWK.generate(kty='OKP', crv='Ed25519')

INVALID_SIGNATURE = 'JWSError JWSInvalidSignature'
BAD_PARTS = 'JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts)'
TOO_LONG = 'JWSError (CompactDecodeError Too long)'
BAD_BASE64 = 'JWSError (JSONDecodeError "Not valid base64url")'
BAD_HEADER = 'JWSError (JSONDecodeError "protected header contains invalid JSON")'
NO_ALG = r'JWSError (JSONDecodeError "missing required header \"alg\"")'
BAD_ALG = r'JWSError (JSONDecodeError "unrecognised value; expected: [\"HS256\",\"RS256\",\"ES256\"]")'
BAD_CRIT = 'JWSError (JSONDecodeError "crit key is not understood")'
BAD_KID = 'JWSError (JSONDecodeError "kid: expected String")'
BAD_CLAIMS = 'JWTClaimsSetDecodeError "Error in $: parsing JWT Claims Set failed, expected Object"'
TOO_DEEP = 'JWTClaimsSetDecodeError "Error in $: nested too deep"'
BAD_ROLE = 'JWTClaimsSetDecodeError "Error in $.role: expected String"'
BAD_AUD = 'JWTClaimsSetDecodeError "Error in $.aud: parsing StringOrURI failed, expected String"'


def bad_time(name):
    return f'JWTClaimsSetDecodeError "Error in $.{name}: parsing NumericDate failed, expected Number"'


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def as_bytes(part):
    return part if isinstance(part, bytes) else json.dumps(part).encode()


def hmac_token(header, claims, secret=SECRET.encode(), digest=hashlib.sha256):
    """Signs whatever bytes or values by HMAC."""
    signed = f'{encode(as_bytes(header))}.{encode(as_bytes(claims))}'
    return f'{signed}.{encode(hmac.new(secret, signed.encode(), digest).digest())}'


def token_of(key, header, claims):
    token = jws.JWS(json.dumps(claims))
    token.allowed_algs = ['HS256', 'RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA']
    token.add_signature(key, protected=json.dumps(header))
    return token.serialize(compact=True)


def public(key, **members):
    exported = key.export(as_dict=True) if key['kty'] == 'oct' else key.export_public(as_dict=True)
    return exported | members


def set_of(*keys):
    return json.dumps({'keys': [public(key) if isinstance(key, jwk.JWK) else key for key in keys]})


def without(key, *names):
    return {name: value for name, value in public(key).items() if name not in names}


GOOD = hmac_token(HS256, {'role': 'lister'})
GOOD_HEAD, GOOD_BODY, GOOD_SIGNATURE = GOOD.split('.')


def test_good(check):
    assert check(GOOD, SECRET) == [f'valid {LEAST} {MOST}', '{"role":"lister"}', 'role lister']


# The examples of RFC 7515, appendix A, the first of which is also that of RFC 7519; they have no role, and expired in 2011.

@pytest.mark.parametrize('section', RFC)
def test_rfc_7515(check, section):
    example = RFC[section]
    for keys in ({'secret': json.dumps(example['jwk'])}, {'jwk_set': set_of(example['jwk'])}):
        assert check(example['token'], now=1_300_819_379, **keys) == [
            f'valid {LEAST} 1300819410', '{"iss":"joe","exp":1300819380,"http://example.com/is_root":true}']
        assert check(example['token'], now=NOW, **keys) == ['token JWT expired']
    others = [RFC[name]['jwk'] for name in RFC if name != section]
    assert check(example['token'], jwk_set=set_of(*others), now=NOW) == [f'token {INVALID_SIGNATURE}']


def test_rfc_7515_unsecured(check):
    token = 'eyJhbGciOiJub25lIn0.' + RFC['A.1']['token'].split('.')[1] + '.'
    assert check(token, SECRET, set_of(*(example['jwk'] for example in RFC.values()))) == ['token JWSError JWSNoSignatures']


# Algorithms and keys.

@pytest.mark.parametrize('key, algorithm', [(OCT, 'HS256'), (RSA, 'RS256'), (EC, 'ES256')])
def test_algorithm(check, key, algorithm):
    token = token_of(key, {'alg': algorithm}, {'role': 'lister'})
    alone, among = json.dumps(public(key)), set_of(OCT, RSA, EC)
    for keys in ({'secret': alone}, {'secret': ' \n' + alone}, {'jwk_set': alone}, {'secret': among}, {'jwk_set': among},
                 {'secret': SECRET, 'jwk_set': among}):
        assert check(token, **keys)[1:] == ['{"role":"lister"}', 'role lister']
    assert check(GOOD, SECRET, among)[2] == 'role lister'


@pytest.mark.parametrize('header, problem', [
    ({}, NO_ALG),
    ({'alg': None}, NO_ALG),
    ({'alg': 256}, NO_ALG),
    ({'alg': ['HS256']}, NO_ALG),
    ({'alg': 'none'}, 'JWSError JWSNoSignatures'),
    ({'alg': 'None'}, BAD_ALG),
    ({'alg': 'NONE'}, BAD_ALG),
    ({'alg': 'hs256'}, BAD_ALG),
    ({'alg': ''}, BAD_ALG),
    ({'alg': 'HS256 '}, BAD_ALG),
    ({'alg': 'HS384'}, BAD_ALG),
    ({'alg': 'HS512'}, BAD_ALG),
    ({'alg': 'RS384'}, BAD_ALG),
    ({'alg': 'PS256'}, BAD_ALG),
    ({'alg': 'ES512'}, BAD_ALG),
    ({'alg': 'EdDSA'}, BAD_ALG),
    ({'alg': 'RS256'}, INVALID_SIGNATURE),
    ({'alg': 'ES256'}, INVALID_SIGNATURE),
    ({'alg': 'dir', 'enc': 'A128GCM'}, BAD_ALG),
    (b'{"alg":"none","alg":"HS256"}', BAD_HEADER),
    (b'{"alg":"HS256","alg":"HS256"}', BAD_HEADER),
    (b'["HS256"]', BAD_HEADER),
    (b'"HS256"', BAD_HEADER),
    (b'', BAD_HEADER),
    (b'{"alg":"HS256"', BAD_HEADER),
    (b'{"alg":"HS256"} x', BAD_HEADER),
    (b'{"alg":"HS256"}\0', BAD_HEADER),
    (b'{"alg":"HS256\\u0000"}', BAD_HEADER),
    (b'{"alg":"HS256","x":"\xff"}', BAD_HEADER),
    (b'\xef\xbb\xbf{"alg":"HS256"}', BAD_HEADER),
    (b'{"alg":"HS256","x":' + b'[' * 2500 + b']' * 2500 + b'}', BAD_HEADER),
    ({'alg': 'HS256', 'crit': ['exp'], 'exp': 1}, BAD_CRIT),
    ({'alg': 'HS256', 'crit': ['b64'], 'b64': True}, BAD_CRIT),
    ({'alg': 'HS256', 'crit': []}, BAD_CRIT),
    ({'alg': 'HS256', 'crit': None}, BAD_CRIT),
    ({'alg': 'HS256', 'b64': False}, BAD_CRIT),
    ({'alg': 'HS256', 'kid': 5}, BAD_KID),
    ({'alg': 'HS256', 'kid': None}, BAD_KID),
])
def test_bad_header(check, header, problem):
    token = hmac_token(header, {'role': 'lister'})
    assert check(token, SECRET, set_of(RSA, EC)) == [f'token {problem}']


@pytest.mark.parametrize('header', [
    {'alg': 'HS256'},
    {'alg': 'HS256', 'typ': 'at+jwt', 'cty': 'x'},
    b' { "alg" : "HS256" } ',
    b'{"\\u0061lg":"HS256"}',
    {'alg': 'HS256', 'kid': 'unknown'},
])
def test_good_header(check, header):
    assert check(hmac_token(header, {'role': 'lister'}), SECRET)[2] == 'role lister'


@pytest.mark.parametrize('key, algorithm', [(RSA, 'RS512'), (RSA, 'PS256'), (EC_384, 'ES384'), (OKP, 'EdDSA')])
def test_other_algorithm(check, key, algorithm):
    token = token_of(key, {'alg': algorithm}, {'role': 'lister'})
    assert check(token, jwk_set=set_of(public(key), OCT)) == [f'token {BAD_ALG}']


@pytest.mark.parametrize('key', [RSA, EC])
def test_public_key_is_no_secret(check, key):
    """A token signed by HMAC, with the public half of a key as the secret."""
    exported = public(key)
    forms = [key.export_to_pem(), key.export_to_pem().strip(), json.dumps(exported).encode(), key.export_public().encode()]
    forms += [exported[name].encode() for name in ('n', 'x', 'y') if name in exported]
    forms += [base64.urlsafe_b64decode(exported[name] + '==') for name in ('n', 'x', 'y') if name in exported]
    for form in forms:
        token = hmac_token(HS256, {'role': 'lister'}, form)
        assert check(token, jwk_set=set_of(key)) == [f'token {INVALID_SIGNATURE}']
        assert check(token, secret=json.dumps(exported)) == [f'token {INVALID_SIGNATURE}']
    pem = key.export_to_pem().decode()
    assert check(hmac_token(HS256, {}, pem.encode()), secret=pem) == ['keys secret: a key in PEM is no secret; it can be given as a JWK']


def test_embedded_keys_are_not_followed(check):
    mine = jwk.JWK.generate(kty='RSA', size=2048)
    for header in ({'jwk': public(mine)}, {'jku': 'http://127.0.0.1:9/keys'}, {'x5u': 'http://127.0.0.1:9/'}, {'x5c': ['MIIB']}):
        token = token_of(mine, {'alg': 'RS256', **header}, {'role': 'lister'})
        assert check(token, jwk_set=set_of(RSA)) == [f'token {INVALID_SIGNATURE}']
        token = token_of(RSA, {'alg': 'RS256', **header}, {'role': 'lister'})
        assert check(token, jwk_set=set_of(RSA))[2] == 'role lister'


def test_kid_selects(check):
    keys = set_of(RSA_OTHER, RSA, EC)
    for kid, valid in (('rsa', True), ('other', False), ('ec', False), ('unknown', True), ('', True), (None, True)):
        token = token_of(RSA, {'alg': 'RS256'} | ({} if kid is None else {'kid': kid}), {'role': 'lister'})
        assert (check(token, jwk_set=keys)[0] != f'token {INVALID_SIGNATURE}') == valid
    # Two keys may have the same.
    keys = set_of(public(RSA_OTHER, kid='same'), public(EC, kid='same'), public(RSA, kid='same'))
    assert check(token_of(RSA, {'alg': 'RS256', 'kid': 'same'}, {}), jwk_set=keys)[1] == '{}'


@pytest.mark.parametrize('members, valid', [
    ({'alg': 'RS256'}, True),
    ({'use': 'sig'}, True),
    ({'key_ops': ['verify']}, True),
    ({'key_ops': ['sign', 'verify']}, True),
    ({'alg': 'RS512'}, False),
    ({'alg': 'RSA-OAEP'}, False),
    ({'alg': 'ES256'}, False),
    ({'alg': 256}, False),
    ({'use': 'enc'}, False),
    ({'use': None}, False),
    ({'key_ops': ['sign']}, False),
    ({'key_ops': ['encrypt']}, False),
    ({'key_ops': []}, False),
    ({'key_ops': 'verify'}, False),
])
def test_key_for_another_use(check, members, valid):
    token = token_of(RSA, {'alg': 'RS256'}, {'role': 'lister'})
    key = public(RSA, **members)
    assert (check(token, jwk_set=set_of(key, EC)) != [f'token {INVALID_SIGNATURE}']) == valid
    nothing = ['keys JWK set: no key in it can verify HS256, RS256 or ES256']
    assert (check(token, jwk_set=json.dumps(key)) != nothing) == valid


def test_private_keys_count_by_their_public_half(check):
    for key, algorithm in ((RSA, 'RS256'), (EC, 'ES256')):
        token = token_of(key, {'alg': algorithm}, {'role': 'lister'})
        assert check(token, jwk_set=json.dumps(key.export(as_dict=True)))[2] == 'role lister'
    # The library alone would derive the public half from the private one.
    mixed = public(EC) | {'d': jwk.JWK.generate(kty='EC', crv='P-256').export(as_dict=True)['d']}
    assert check(token_of(EC, {'alg': 'ES256'}, {'role': 'lister'}), jwk_set=json.dumps(mixed))[2] == 'role lister'


def malformed(kind):
    return f'JWK set: a key of type {kind} is malformed'


def bits(count):
    """A modulus of so many bits, odd."""
    return encode(((1 << (count - 1)) | 1).to_bytes((count + 7) // 8, 'big'))


NO_KEY = 'JWK set: no key in it can verify HS256, RS256 or ES256'
BAD_EXPONENT = 'JWK set: the exponent of an RSA key must be odd, and 3 at least'
BAD_LENGTH = 'JWK set: the coordinates of a key on P-256 must have 32 bytes'
OFF_CURVE = 'JWK set: a key is not on the curve P-256'


@pytest.mark.parametrize('text, problem', [
    ('{', 'JWK set: not JSON at line 1, column 1'),
    ('x', 'JWK set: not JSON at line 1, column 1'),
    ('[]', 'JWK set: neither a JWK nor a JWK set'),
    ('{"keys":[]} x', 'JWK set: not JSON at line 1, column 13'),
    ('{"keys":[],"keys":[]}', 'JWK set: not JSON at line 1, column 17'),
    ('{}', NO_KEY),
    ('{"keys":[]}', NO_KEY),
    ('{"keys":{}}', NO_KEY),
    ('{"keys":[5,null,[],"x",{}]}', NO_KEY),
    (set_of(OKP), NO_KEY),
    (set_of(EC_384), NO_KEY),
    (set_of({'kty': 'rsa'}), NO_KEY),
    (set_of(public(OCT, k='AAAA')), 'JWK set: a secret for HS256 must have at least 32 bytes, this one has 3'),
    (set_of(public(OCT, k=encode(b'a' * 31))), 'JWK set: a secret for HS256 must have at least 32 bytes, this one has 31'),
    (set_of(public(OCT, k='')), 'JWK set: a secret for HS256 must have at least 32 bytes, this one has 0'),
    (set_of(public(OCT, k='+' * 44)), malformed('oct')),
    (set_of(public(OCT, k=OCT.export(as_dict=True)['k'] + '=')), malformed('oct')),
    (set_of(public(OCT, k=5)), malformed('oct')),
    (set_of(without(OCT, 'k')), malformed('oct')),
    (set_of(RSA_WEAK), 'JWK set: an RSA key must have at least 2048 bits, this one has 1024'),
    (set_of(EC, RSA_WEAK), 'JWK set: an RSA key must have at least 2048 bits, this one has 1024'),
    (set_of(public(RSA, n=bits(2047))), 'JWK set: an RSA key must have at least 2048 bits, this one has 2047'),
    (set_of(public(RSA, n=encode(bytes(1) + b'\1' * 255))), 'JWK set: an RSA key must have at least 2048 bits, this one has 2033'),
    (set_of(public(RSA, n='')), 'JWK set: an RSA key must have at least 2048 bits, this one has 0'),
    (set_of(public(RSA, n='AAAA')), 'JWK set: an RSA key must have at least 2048 bits, this one has 0'),
    (set_of(without(RSA, 'n')), malformed('RSA')),
    (set_of(without(RSA, 'e')), malformed('RSA')),
    (set_of(public(RSA, e='AQAB=')), malformed('RSA')),
    (set_of(public(RSA, e='')), BAD_EXPONENT),
    (set_of(public(RSA, e='AQ')), BAD_EXPONENT),
    (set_of(public(RSA, e='AAAB')), BAD_EXPONENT),
    (set_of(public(RSA, e='AQAA')), BAD_EXPONENT),
    (set_of(without(EC, 'x')), malformed('EC')),
    (set_of(public(EC, y='A' * 41 + 'B')), malformed('EC')),
    (set_of(public(EC, y=encode(b'1' * 31))), BAD_LENGTH),
    (set_of(public(EC, x=encode(b'1' * 33))), BAD_LENGTH),
    (set_of(public(EC, y=public(EC)['x'])), OFF_CURVE),
    (set_of(public(EC, x=encode(bytes(32)), y=encode(bytes(32)))), OFF_CURVE),
    (set_of(public(EC, x=encode(b'\xff' * 32))), OFF_CURVE),
])
def test_bad_keys(check, text, problem):
    assert check(GOOD, jwk_set=text) == [f'keys {problem}']
    if text.startswith('{'):
        assert check(GOOD, secret=text) == [f'keys {problem.replace("JWK set", "secret", 1)}']


def test_secret(check):
    short = 'secret: a secret for HS256 must have at least 32 bytes, this one has'
    assert check(GOOD, 'a' * 31) == [f'keys {short} 31']
    assert check(GOOD, 'é' * 15) == [f'keys {short} 30']
    assert check(GOOD) == ['keys JWK set: there is neither that nor a secret']
    for secret in ('a' * 32, 'é' * 16, ' ' + 'a' * 31, 'x' * 5000):
        assert check(hmac_token(HS256, {'role': 'lister'}, secret.encode()), secret)[2] == 'role lister'
        assert check(GOOD, secret) == [f'token {INVALID_SIGNATURE}']
    # To PostgREST a text that is no JWK is a secret as it is.
    assert check(GOOD, '{"keys":[' + 'a' * 32) == ['keys secret: not JSON at line 1, column 41']


def test_error_tells_no_secret(check):
    for text in ('{"kty":"oct","k":"hunter2hunter2hunter2hunter2hunter2hun"', '{hunter2', '{"kty":"oct","k":"hunter2"}'):
        assert 'hunter' not in check(GOOD, text)[0] and check(GOOD, text)[0].startswith('keys ')


def test_all_keys_are_tried(check):
    others = [jwk.JWK.generate(kty='oct', size=256) for _ in range(20)]
    assert check(token_of(others[-1], {'alg': 'HS256'}, {}), SECRET, set_of(*others))[1] == '{}'


# The form of a token.

def noncanonical(text):
    digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return text[:-1] + digits[digits.index(text[-1]) | 1]


def padded(text):
    return text + '=' * (-len(text) % 4)


def name_of(value):
    return repr(value)[:60]


@pytest.mark.parametrize('token, problem', [
    ('', BAD_PARTS),
    ('x', BAD_PARTS),
    ('.', BAD_PARTS),
    (f'{GOOD_HEAD}.{GOOD_BODY}', BAD_PARTS),
    (f'{GOOD}.', BAD_PARTS),
    (f'{GOOD}.{GOOD_BODY}', BAD_PARTS),
    (f'{GOOD}..', BAD_PARTS),
    ('..', BAD_HEADER),
    (f'.{GOOD_BODY}.{GOOD_SIGNATURE}', BAD_HEADER),
    (f'{GOOD_HEAD}.{GOOD_BODY}.', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}..{GOOD_SIGNATURE}', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.AA', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{GOOD_SIGNATURE[:-3]}', INVALID_SIGNATURE),
    (f'{GOOD}AAAA', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{encode(bytes(33))}', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{encode(bytes(32))}', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{encode(bytes(4000))}', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{encode(b"{}")}.{GOOD_SIGNATURE}', INVALID_SIGNATURE),
    (f'{encode(b" " + as_bytes(HS256))}.{GOOD_BODY}.{GOOD_SIGNATURE}', INVALID_SIGNATURE),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{noncanonical(GOOD_SIGNATURE)}', BAD_BASE64),
    (f'{GOOD_HEAD}.{GOOD_BODY}.{padded(GOOD_SIGNATURE)}', BAD_BASE64),
    (f'{padded(GOOD_HEAD + "A")}.{GOOD_BODY}.{GOOD_SIGNATURE}', BAD_BASE64),
    (f'A===.{GOOD_BODY}.{GOOD_SIGNATURE}', BAD_BASE64),
    (f'{GOOD_HEAD}.A===.{GOOD_SIGNATURE}', BAD_BASE64),
    (f'{GOOD_HEAD}.A.{GOOD_SIGNATURE}', BAD_BASE64),
    (f'{GOOD_HEAD}.+/+/.{GOOD_SIGNATURE}', BAD_BASE64),
    (f' {GOOD}', BAD_BASE64),
    (f'{GOOD} ', BAD_BASE64),
    (f'{GOOD}\n', BAD_BASE64),
    (f'{GOOD}\0', BAD_BASE64),
    (f'{GOOD[:30]}\0{GOOD[30:]}', BAD_BASE64),
    (GOOD.encode() + b'\xff', BAD_BASE64),
    (f'{GOOD[:-1]}é', BAD_BASE64),
    ('A' * 100_000, TOO_LONG),
    ('.' * 1_000_000, TOO_LONG),
], ids=name_of)
def test_bad_form(check, token, problem):
    assert check(token, SECRET) == [f'token {problem}']


def test_length(check):
    def of_length(length):
        for size in range(5900, 6200):
            token = hmac_token(HS256, {'x': 'a' * size})
            if len(token) >= length:
                return token
    assert len(of_length(8192)) == 8192 and check(of_length(8192), SECRET)[0].startswith('valid')
    assert check(of_length(8193), SECRET) == [f'token {TOO_LONG}']


@pytest.mark.parametrize('key, algorithm', [(OCT, 'HS256'), (RSA, 'RS256'), (EC, 'ES256')])
def test_changed_signature(check, key, algorithm):
    token = token_of(key, {'alg': algorithm}, {'role': 'lister'})
    signed, signature = token.rsplit('.', 1)
    signature = base64.urlsafe_b64decode(signature + '==')
    changed = [bytes([signature[0] ^ 1]) + signature[1:], signature[:-1] + bytes([signature[-1] ^ 0x80]), bytes(len(signature)),
               signature[:-1], signature + b'\0', b'\0' + signature, b'\xff' * len(signature), signature[:1], b'']
    for wrong in changed:
        assert check(f'{signed}.{encode(wrong)}', jwk_set=set_of(OCT, RSA, EC)) == [f'token {INVALID_SIGNATURE}']


def test_es256_has_one_length(check):
    """The library alone would take two halves of any length, with zeros before the numbers."""
    signed, signature = token_of(EC, {'alg': 'ES256'}, {}).rsplit('.', 1)
    signature = base64.urlsafe_b64decode(signature + '==')
    longer = b'\0' + signature[:32] + b'\0' + signature[32:]
    assert check(f'{signed}.{encode(signature)}', jwk_set=set_of(EC))[1] == '{}'
    assert check(f'{signed}.{encode(longer)}', jwk_set=set_of(EC)) == [f'token {INVALID_SIGNATURE}']


def test_signature_in_der(check):
    """ES256 is two numbers of 32 bytes, not what OpenSSL writes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    signed = f'{encode(as_bytes({"alg": "ES256"}))}.{encode(b"{}")}'
    signature = EC.get_op_key('sign').sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    assert check(f'{signed}.{encode(signature)}', jwk_set=set_of(EC)) == [f'token {INVALID_SIGNATURE}']


# Claims.

@pytest.mark.parametrize('claims, text', [
    (b'{}', '{}'),
    (b' {\r\n "a" :\t[ 1 , 2.50 , -0 , 1E2 ] } ', '{"a":[1,2.50,-0,1E2]}'),
    (b'{"a":12345678901234567890123456789.10}', '{"a":12345678901234567890123456789.10}'),
    (b'{"a b":" \\" { \\\\"," c":"\\\\\\" ]"}', '{"a b":" \\" { \\\\"," c":"\\\\\\" ]"}'),
    (b'{"a":"\\u00e9\xc3\xa9\\ud83d\\ude00"}', '{"a":"\\u00e9é\\ud83d\\ude00"}'),
    (b'{"role":"l\xc3\xa9"}', '{"role":"lé"}'),
    (b'{"a":' + b'[' * 63 + b']' * 63 + b'}', '{"a":' + '[' * 63 + ']' * 63 + '}'),
    (b'{"a":"' + b'[' * 99 + b'"}', '{"a":"' + '[' * 99 + '"}'),
    (b'{"a":[' + b'[],' * 99 + b'1]}', '{"a":[' + '[],' * 99 + '1]}'),
])
def test_claims(check, claims, text):
    lines = check(hmac_token(HS256, claims), SECRET)
    assert lines[1] == text and json.loads(text) == json.loads(claims)


@pytest.mark.parametrize('claims, problem', [
    (b'', BAD_CLAIMS),
    (b'null', BAD_CLAIMS),
    (b'5', BAD_CLAIMS),
    (b'"role"', BAD_CLAIMS),
    (b'["role"]', BAD_CLAIMS),
    (b'{', BAD_CLAIMS),
    (b'{"role":"lister"', BAD_CLAIMS),
    (b"{'role':'lister'}", BAD_CLAIMS),
    (b'{"role":"lister"} {}', BAD_CLAIMS),
    (b'{"role":"lister"}\0', BAD_CLAIMS),
    (b'{"role":"lister",}', BAD_CLAIMS),
    (b'{"a":01}', BAD_CLAIMS),
    (b'{"a":NaN}', BAD_CLAIMS),
    (b'{"a":1e999}', BAD_CLAIMS),
    (b'{"a":"\t"}', BAD_CLAIMS),
    (b'{"a":"\0"}', BAD_CLAIMS),
    (b'{"a":"\\u0000"}', BAD_CLAIMS),
    (b'{"a\\u0000":1}', BAD_CLAIMS),
    (b'{"a":"\xff"}', BAD_CLAIMS),
    (b'{"a":"\xc0\x80"}', BAD_CLAIMS),
    (b'{"a":"\xed\xa0\x80"}', BAD_CLAIMS),
    (b'{"a":"\\ud800"}', BAD_CLAIMS),
    (b'\xef\xbb\xbf{}', BAD_CLAIMS),
    (b'{"role":"a","role":"b"}', BAD_CLAIMS),
    (b'{"role":"a","\\u0072ole":"b"}', BAD_CLAIMS),
    (b'{"a":{"b":1,"b":1}}', BAD_CLAIMS),
    (b'{"a":' + b'[' * 64 + b']' * 64 + b'}', TOO_DEEP),
    (b'{"a":' * 64 + b'[]' + b'}' * 64, TOO_DEEP),
    (b'{"a":' + b'[' * 2800 + b']' * 2800 + b'}', BAD_CLAIMS),
    (b'[' * 5800, BAD_CLAIMS),
    (b'{"role":null}', BAD_ROLE),
    (b'{"role":5}', BAD_ROLE),
    (b'{"role":true}', BAD_ROLE),
    (b'{"role":["lister"]}', BAD_ROLE),
    (b'{"role":{"lister":1}}', BAD_ROLE),
    (b'{"role":"lister\\u0000"}', BAD_CLAIMS),
])
def test_bad_claims(check, claims, problem):
    assert check(hmac_token(HS256, claims), SECRET) == [f'token {problem}']


def test_no_role(check):
    assert check(hmac_token(HS256, {'Role': 'a'}), SECRET) == [f'valid {LEAST} {MOST}', '{"Role":"a"}']
    assert check(hmac_token(HS256, {'role': ''}), SECRET) == [f'valid {LEAST} {MOST}', '{"role":""}', 'role ']


@pytest.mark.parametrize('claims, first, end', [
    ({'exp': NOW}, LEAST, NOW + 30),
    ({'exp': NOW + 0.5}, LEAST, NOW + 31),
    ({'exp': float(NOW)}, LEAST, NOW + 30),
    ({'nbf': NOW}, NOW - 30, MOST),
    ({'nbf': NOW + 0.5}, NOW - 29, MOST),
    ({'iat': NOW}, NOW - 30, MOST),
    ({'iat': NOW - 1000, 'nbf': NOW, 'exp': NOW + 1000}, NOW - 30, NOW + 1030),
    ({'iat': NOW, 'nbf': NOW - 1000, 'exp': NOW + 1000}, NOW - 30, NOW + 1030),
    ({'exp': 10**30, 'nbf': -10**30, 'iat': -10**300}, LEAST, MOST),
    ({'exp': -10}, LEAST, 20),
    ({'exp': -10.5}, LEAST, 20),
])
def test_times(check, claims, first, end):
    token = hmac_token(HS256, claims)
    expected = [f'valid {first} {end}', json.dumps(claims, separators=(',', ':'))]
    early = 'token JWTIssuedAtFuture' if claims.get('iat', LEAST) >= claims.get('nbf', LEAST) else 'token JWTNotYetValid'
    for now in (first, end - 1):
        assert check(token, SECRET, now=now) == expected
    if first > LEAST:
        assert check(token, SECRET, now=first - 1) == [early]
    if end < MOST:
        assert check(token, SECRET, now=end) == ['token JWT expired']
        assert check(token, SECRET, now=MOST) == ['token JWT expired']


@pytest.mark.parametrize('name', ['exp', 'nbf', 'iat'])
@pytest.mark.parametrize('value', ['"1700000000"', '""', 'null', 'true', '[1700000000]', '{}'])
def test_bad_times(check, name, value):
    token = hmac_token(HS256, f'{{"{name}":{value}}}'.encode())
    assert check(token, SECRET, now=NOW) == [f'token {bad_time(name)}']


@pytest.mark.parametrize('claims, problem', [
    ({'exp': -10**30}, 'JWT expired'),
    ({'nbf': 10**30}, 'JWTNotYetValid'),
    ({'iat': 10**30}, 'JWTIssuedAtFuture'),
    ({'exp': 1, 'iat': 10**10, 'nbf': 10**10, 'aud': 'x'}, 'JWT expired'),
    ({'iat': 10**10, 'nbf': 10**10, 'aud': 'x'}, 'JWTIssuedAtFuture'),
    ({'nbf': 10**10, 'aud': 'x'}, 'JWTNotYetValid'),
])
def test_first_problem(check, claims, problem):
    assert check(hmac_token(HS256, claims), SECRET, audience='us', now=NOW) == [f'token {problem}']


@pytest.mark.parametrize('claims, ours, anyone', [
    ({}, None, None),
    ({'aud': 'us'}, None, None),
    ({'aud': ['us']}, None, None),
    ({'aud': ['them', 'us']}, None, None),
    ({'aud': 'them'}, 'JWTNotInAudience', None),
    ({'aud': ''}, 'JWTNotInAudience', None),
    ({'aud': 'Us'}, 'JWTNotInAudience', None),
    ({'aud': 'us '}, 'JWTNotInAudience', None),
    ({'aud': ['them']}, 'JWTNotInAudience', None),
    ({'aud': []}, 'JWTNotInAudience', 'JWTNotInAudience'),
    ({'aud': None}, BAD_AUD, BAD_AUD),
    ({'aud': 5}, BAD_AUD, BAD_AUD),
    ({'aud': {'us': 1}}, BAD_AUD, BAD_AUD),
    ({'aud': ['us', 5]}, BAD_AUD, BAD_AUD),
    ({'aud': [['us']]}, BAD_AUD, BAD_AUD),
])
def test_audience(check, claims, ours, anyone):
    token = hmac_token(HS256, claims)
    for audience, problem in (('us', ours), ('', anyone)):
        lines = check(token, SECRET, audience=audience)
        assert lines == [f'token {problem}'] if problem else lines[0].startswith('valid')
