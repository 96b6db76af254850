"""The contract of the listing as plain Python: sort everything, slice it, render it.

It knows the contract alone and nothing of how the extension works; it is slow and meant to be obviously right.
A file is a tuple (file_ingestion_id, ingestion_status, ingestion_status_reason, name), all text, the id in
canonical form; `sessions` maps a session's id to (workspace_name, files).
"""

import json
import re
from urllib.parse import unquote_to_bytes

STATUSES = ['PENDING', 'FAILED', 'FINISHED']
FIELDS = ['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']
ORDERS = ['ASC', 'DESC']
TOO_LONG = 'FILE NAME TOO LONG. MAX LENGTH IS 800'
REASONS = ['EMPTY_FILE', 'FILE_NOT_FOUND', 'FAILED_TO_PARSE_META', 'FILE_ALREADY_EXISTS', 'INGESTING_FILE_FAILED',
           'UNKNOWN_ERROR', TOO_LONG, 'SLOWDOWN']
KEYS = ['file_ingestion_id', 'ingestion_status', 'ingestion_status_reason', 'name']

PATH = re.compile(r'/api/v1/workspaces/([^/]+)/upload_sessions/([^/]+)/files')
WHITE_SPACE = r'[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*'
INTEGER = re.compile(WHITE_SPACE + r'([+-]?)([0-9]+(?:_[0-9]+)*)(?:\.0+)?' + WHITE_SPACE)
HEX = '[0-9a-fA-F]'
HYPHENATED = '-'.join(f'{HEX}{{{length}}}' for length in (8, 4, 4, 4, 12))
UUID = re.compile(rf'{HYPHENATED}|{HEX}{{32}}|\{{{HYPHENATED}\}}|urn:uuid:{HYPHENATED}')


class Invalid(Exception):
    def __init__(self, kind, message, **ctx):
        self.kind, self.message, self.ctx = kind, message, ctx


def respond(sessions, target):
    """Answers a GET of a raw request target with (status, body as bytes)."""
    return respond_with_links(sessions, target)[:2]


def respond_with_links(sessions, target):
    """Answers with (status, body as bytes, value of the header Link or None)."""
    status, body, values = answer(sessions, target)
    return status, body, link(json.loads(body), values, target.partition('?')[2]) if status == 200 else None


def answer(sessions, target):
    """Answers with (status, body as bytes, the parameters that were given)."""
    path, _, query = target.partition('?')
    match = PATH.fullmatch(path)
    if not match:
        return 404, render({'detail': 'Not Found'}), {}
    workspace, session_text = map(decode, match.groups())
    texts = parse_query(query)
    values, errors = {}, []

    def check(name, check_value, loc='query', text=None):
        text = texts.get(name) if text is None else text
        if text is None:
            return
        try:
            values[name] = check_value(text)
        except Invalid as error:
            entry = {'type': error.kind, 'loc': [loc, name], 'msg': error.message, 'input': text}
            errors.append(entry | ({'ctx': error.ctx} if error.ctx else {}))

    check('session_id', parse_uuid, 'path', session_text)
    check('ingestion_status', one_of('enum', STATUSES))
    check('limit', integer(0, 100))
    check('before', parse_uuid)
    check('after', parse_uuid)
    check('page_number', integer(1, None))
    check('field', one_of('literal_error', FIELDS))
    check('order', one_of('literal_error', ORDERS))
    if not errors and 'page_number' in values:
        for name in ('before', 'after'):
            check(name, refuse('clear the `page_number` parameter to use a cursor'))
    if errors:
        return 422, render({'detail': errors}), values

    owner, files = sessions.get(values['session_id'], (None, []))
    if owner != workspace:
        return 404, render({'detail': f"There's no session with the ID '{values['session_id']}' in the workspace. "
                                      'Check if the ID is correct. '}), values
    for name in ('before', 'after'):
        if values.get(name) not in [None] + [file[0] for file in files]:
            check(name, refuse('no file with this ID in the session'))
    if errors:
        return 422, render({'detail': errors}), values
    return 200, render(list_files(files, values)), values


def kept_parameters(query):
    """Returns the parameters of a query that its links keep, each with "&" behind it: all but those that say which page it is."""
    pieces = [piece for piece in query.split('&') if piece and decode(piece.partition('=')[0].replace('+', ' ')) not in ('before', 'after', 'page_number')]
    return ''.join(re.sub(rb'%(?![0-9A-Fa-f]{2})|[^-._~+=:@/?!$*()%0-9A-Za-z]', lambda match: b'%%%02X' % match[0][0], piece.encode('utf-8', 'surrogateescape')).decode() + '&'
                   for piece in pieces)


def link(page, values, query):
    """Writes the links to the pages after and before one, as its own cursors give them."""
    kept = kept_parameters(query)
    ids = [file['file_ingestion_id'] for file in page['data']]
    given = {name for name in ('before', 'after') if name in values}
    links = []

    def add(relation, **cursors):
        links.append(f'<?{kept}{"&".join(f"{name}={cursors[name]}" for name in ("before", "after") if name in cursors)}>; rel="{relation}"')

    # Longer ones do not fit into a head.
    if not ids or len(kept) > 1024:
        return None
    if given == {'before', 'after'}:
        if page['has_more']:
            add('next', after=ids[-1], before=values['before'])
    elif given == {'before'}:
        add('next', after=ids[-1])
        if page['has_more']:
            add('prev', before=ids[0])
    else:
        if page['has_more']:
            add('next', after=ids[-1])
        if given or values.get('page_number', 1) > 1:
            add('prev', before=ids[0])
    return ', '.join(links) or None


def list_files(files, values):
    files = sort_files(files, values.get('field', 'created_at'), values.get('order', 'DESC'))
    ids = [file[0] for file in files]
    status, limit = values.get('ingestion_status'), values.get('limit', 10)
    before, after, page = values.get('before'), values.get('after'), values.get('page_number', 1)

    def passing(some):
        return [file for file in some if status in (None, file[1])]

    window = passing(files[ids.index(after) + 1 if after else 0:ids.index(before) if before else None])
    rest = window[(page - 1) * limit:]
    shown = rest[:limit]
    if before and not after:
        shown = rest[max(len(rest) - limit, 0):]
    return {'data': [dict(zip(KEYS, file)) for file in shown], 'has_more': len(rest) > limit,
            'total': len(passing(files))}


def sort_files(files, field, order):
    keys = {'created_at': lambda file: file[0],
            'ingestion_status': lambda file: (file[1], file[0]),
            'ingestion_status_reason': lambda file: (file[2] is None, file[2] or '', file[0]),
            'name': lambda file: (file[3].encode(), file[0])}
    return sorted(files, key=keys[field], reverse=order == 'DESC')


def parse_query(query):
    """Returns the last value that is not empty of each parameter."""
    texts = {}
    for part in query.split('&'):
        name, _, value = part.replace('+', ' ').partition('=')
        if value:
            texts[decode(name)] = decode(value)
    return texts


def decode(text):
    return unquote_to_bytes(text).decode(errors='replace')


def render(body):
    return json.dumps(body, ensure_ascii=False, separators=(',', ':')).encode()


def one_of(kind, labels):
    expected = ', '.join(f"'{label}'" for label in labels[:-1]) + f" or '{labels[-1]}'"

    def check(text):
        if text not in labels:
            raise Invalid(kind, f'Input should be {expected}', expected=expected)
        return text
    return check


def integer(least, most):
    def check(text):
        match = INTEGER.fullmatch(text)
        if not match:
            raise Invalid('int_parsing', 'Input should be a valid integer, unable to parse string as an integer')
        digits = match[2].replace('_', '').lstrip('0') or '0'
        if len(digits) > 4300:
            raise Invalid('int_parsing_size', 'Unable to parse input string as an integer, exceeded maximum size')
        value = int(match[1] + digits)
        if most is not None and value > most:
            raise Invalid('less_than_equal', f'Input should be less than or equal to {most}', le=most)
        if value < least:
            raise Invalid('greater_than_equal', f'Input should be greater than or equal to {least}', ge=least)
        return value
    return check


def parse_uuid(text):
    if UUID.fullmatch(text):
        digits = re.sub('urn:uuid:|[{}-]', '', text).lower()
        return '-'.join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    error = uuid_error(text)
    raise Invalid('uuid_parsing', f'Input should be a valid UUID, {error}', error=error)


def uuid_error(text):
    """Says what is wrong; for a text in braces or after urn:uuid: it does not try to."""
    wrong = re.search('[^0-9a-fA-F-]', text)
    if wrong:
        return f'invalid character: found `{wrong[0]}` at {wrong.start() + 1}'
    groups = text.split('-')
    if len(groups) == 1:
        return f'invalid length: expected length 32 for simple format, found {len(text)}'
    if len(groups) != 5:
        return f'invalid group count: expected 5, found {len(groups)}'
    for number, (group, length) in enumerate(zip(groups, (8, 4, 4, 4, 12))):
        if len(group) != length:
            return f'invalid group length in group {number}: expected {length}, found {len(group)}'


def refuse(reason):
    def check(_):
        raise Invalid('value_error', f'Value error, {reason}', error=reason)
    return check
