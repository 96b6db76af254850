"""Calls of the schema's functions, made from what the catalog says of them."""

from urllib.parse import quote

from psycopg import sql

# What a parameter stands for, by its name: of a workspace and what is in it, or a fixed value. By its type, if its name is not here.
BY_NAME = {
    'session_id': lambda w: w.session, 'workspace_name': lambda w: w.name,
    'lease_token': lambda w: w.token, 'before': lambda w: w.files[1], 'after': lambda w: w.files[0], 'id': lambda w: w.files[0],
    'name': lambda w: w.name, 'names': lambda w: w.names, 'worker': lambda w: 'me', 'target': lambda w: target(w.name, w.session),
    'method': lambda w: 'GET', 'ingestion_status': lambda w: None, 'field': lambda w: None, 'order': lambda w: None,
    'page_number': lambda w: None, 'sort': lambda w: None, 'limit': lambda w: '10', 'headers': lambda w: '{}', 'body': lambda w: None,
    'sizes': lambda w: ['1'] * len(w.names), 'types': lambda w: ['text/plain'] * len(w.names), 'locations': lambda w: w.names,
    'metadata': lambda w: ['{"name": "it"}', None, *['{}'] * (len(w.names) - 2)],
    'expires_in': lambda w: None, 'reasons': lambda w: None, 'error': lambda w: 'it broke', 'kinds': lambda w: ['keeper', 'worker'],
}
BY_TYPE = {
    'uuid[]': lambda w: w.files, 'interval': lambda w: '5 minutes', 'integer': lambda w: '1', 'bigint': lambda w: '10',
    'regrole': lambda w: 'hostile_ungranted', 'session_files.write_mode': lambda w: 'KEEP', 'session_files.grant_kind': lambda w: 'lister',
    'session_files.ingestion_status_reason': lambda w: 'EMPTY_FILE',
}


def target(name, session, query=''):
    return f"/api/v1/workspaces/{quote(name, safe='')}/upload_sessions/{session}/files{query}"


def literal(value):
    """Gives a value as text, as the type of a parameter reads it: none of our calls names a type."""
    if isinstance(value, list):
        return '{' + ','.join('NULL' if item is None else '"' + str(item).replace('\\', '\\\\').replace('"', '\\"') + '"' for item in value) + '}'
    return None if value is None else str(value)


def values_for(function, workspace):
    """Gives a value for each parameter; a parameter of which nothing is known here is a failure."""
    return [literal((BY_NAME.get(name) or BY_TYPE[kind])(workspace)) for name, kind in function.arguments]


def statement(function, count):
    """Gives the call with so many arguments; without a type or an operator to be found by search_path."""
    return sql.SQL('SELECT * FROM session_files.{}({})').format(sql.Identifier(function.name), sql.SQL(', ').join([sql.Placeholder()] * count))
