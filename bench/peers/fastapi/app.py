"""The listing by hand, on FastAPI and psycopg 3, for uvicorn. PGHOST and the like say where the tables of ../schema.sql are.

A page is one round trip: a prepared statement finds the session, counts what passes the filter, and seeks to the place behind the cursor.
It knows what bench/http asks for: no `before`, no `page_number`, two fields to sort by.
"""

from contextlib import asynccontextmanager
from typing import Annotated, Literal
from uuid import UUID

from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import JSONResponse
from psycopg_pool import AsyncConnectionPool

# What is unique in a session, so that there are no ties.
KEYS = {'created_at': 'file_ingestion_id', 'name': 'name'}

# Prepared at the first use; one statement needs no transaction around it.
pool = AsyncConnectionPool(min_size=10, max_size=10, open=False, kwargs={'autocommit': True, 'prepare_threshold': 0})


@asynccontextmanager
async def lifespan(_app):
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)


def statement(ingestion_status, after, field, order):
    key = KEYS[field]
    status = 'AND ingestion_status = %(ingestion_status)s' if ingestion_status else ''
    place = ''
    if after:
        place = f"""AND {key} {'>' if order == 'ASC' else '<'}
            (SELECT {key} FROM peer.files WHERE session_id = %(session_id)s AND file_ingestion_id = %(after)s)"""
    return f"""
        SELECT f.file_ingestion_id::text, f.ingestion_status, f.ingestion_status_reason, f.name,
                (SELECT count(*) FROM peer.files WHERE session_id = %(session_id)s {status})
            FROM peer.upload_sessions AS s
            LEFT JOIN LATERAL (
                SELECT * FROM peer.files WHERE session_id = %(session_id)s {status} {place} ORDER BY {key} {order} LIMIT %(rows)s) AS f ON true
            WHERE s.session_id = %(session_id)s AND s.workspace_name = %(workspace_name)s
            ORDER BY f.{key} {order}"""


@app.get('/api/v1/workspaces/{workspace_name}/upload_sessions/{session_id}/files')
async def list_files(
    workspace_name: str,
    session_id: UUID,
    ingestion_status: Literal['PENDING', 'FAILED', 'FINISHED'] | None = None,
    limit: Annotated[int, Query(ge=0, le=100)] = 10,
    after: UUID | None = None,
    field: Literal['created_at', 'name'] = 'created_at',
    order: Literal['ASC', 'DESC'] = 'DESC',
):
    # One row more than the page has, to see whether there is more.
    parameters = {'workspace_name': workspace_name, 'session_id': session_id, 'ingestion_status': ingestion_status, 'after': after,
                  'rows': limit + 1}
    async with pool.connection() as connection:
        rows = await (await connection.execute(statement(ingestion_status, after, field, order), parameters)).fetchall()
    if not rows:
        raise HTTPException(404, 'There is no such session in the workspace')
    # A session without files is a row of nulls.
    files = [{'file_ingestion_id': file_id, 'ingestion_status': status, 'ingestion_status_reason': reason, 'name': name}
             for file_id, status, reason, name, _ in rows if file_id is not None]
    # As a response, which FastAPI does not validate once more.
    return JSONResponse({'data': files[:limit], 'has_more': len(files) > limit, 'total': rows[0][4]})
