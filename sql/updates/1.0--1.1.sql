\echo Use "ALTER EXTENSION session_files UPDATE TO '1.1'" to load this file. \quit
