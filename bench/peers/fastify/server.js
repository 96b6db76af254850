// The listing by hand, on Fastify and pg: node server.js PORT. PGHOST and the like say where the tables of ../schema.sql are.
//
// A page is one round trip: a prepared statement finds the session, counts what passes the filter, and seeks to the place behind the
// cursor. It knows what bench/http asks for: no `before`, no `page_number`, two fields to sort by.
'use strict';

const fastify = require('fastify')();
const { Pool } = require('pg');

const pool = new Pool({ max: 10 });
// A connection that was lost while idle is replaced.
pool.on('error', (error) => console.error(error.message));

// What is unique in a session, so that there are no ties.
const keys = { created_at: 'file_ingestion_id', name: 'name' };

const status = { type: 'string', enum: ['PENDING', 'FAILED', 'FINISHED'] };

const schema = {
	params: {
		type: 'object',
		properties: { workspace_name: { type: 'string' }, session_id: { type: 'string', format: 'uuid' } },
	},
	querystring: {
		type: 'object',
		properties: {
			ingestion_status: status,
			limit: { type: 'integer', minimum: 0, maximum: 100, default: 10 },
			after: { type: 'string', format: 'uuid' },
			field: { type: 'string', enum: Object.keys(keys), default: 'created_at' },
			order: { type: 'string', enum: ['ASC', 'DESC'], default: 'DESC' },
		},
	},
	response: {
		200: {
			type: 'object',
			properties: {
				data: {
					type: 'array',
					items: {
						type: 'object',
						properties: {
							file_ingestion_id: { type: 'string' },
							ingestion_status: { type: 'string' },
							ingestion_status_reason: { type: 'string', nullable: true },
							name: { type: 'string' },
						},
					},
				},
				has_more: { type: 'boolean' },
				total: { type: 'integer' },
			},
		},
	},
};

function statement({ workspace_name, session_id }, { ingestion_status, limit, after, field, order }) {
	const key = keys[field];
	// One more than the page has, to see whether there is more.
	const values = [session_id, workspace_name, limit + 1];
	let filter = '';
	let place = '';
	if (ingestion_status) {
		filter = `AND ingestion_status = $${values.push(ingestion_status)}`;
	}
	if (after) {
		place = `AND ${key} ${order === 'ASC' ? '>' : '<'}
			(SELECT ${key} FROM peer.files WHERE session_id = $1 AND file_ingestion_id = $${values.push(after)})`;
	}
	const text = `
		SELECT f.*, (SELECT count(*)::integer FROM peer.files WHERE session_id = $1 ${filter}) AS total
			FROM peer.upload_sessions AS s
			LEFT JOIN LATERAL (
				SELECT file_ingestion_id, ingestion_status, ingestion_status_reason, name
					FROM peer.files WHERE session_id = $1 ${filter} ${place} ORDER BY ${key} ${order} LIMIT $3) AS f ON true
			WHERE s.session_id = $1 AND s.workspace_name = $2
			ORDER BY f.${key} ${order}`;
	return { name: `${field} ${order} ${Boolean(ingestion_status)} ${Boolean(after)}`, text, values };
}

fastify.get('/api/v1/workspaces/:workspace_name/upload_sessions/:session_id/files', { schema }, async (request, reply) => {
	const { rows } = await pool.query(statement(request.params, request.query));
	if (rows.length === 0) {
		return reply.code(404).send({ detail: 'There is no such session in the workspace' });
	}
	// A session without files is a row of nulls.
	const files = rows.filter((row) => row.file_ingestion_id !== null);
	const { limit } = request.query;
	return { data: files.slice(0, limit), has_more: files.length > limit, total: rows[0].total };
});

fastify.listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
