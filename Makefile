# PGXS build of the extension. `make`, `make install`, `make installcheck`, `make dist`.

EXTENSION = session_files
# Versions are written where PostgreSQL and PGXN read them; test/package compares them with each other and with the changelogs.
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)
DISTVERSION := $(shell sed -n 's/^   "version": "\(.*\)",/\1/p' META.json)

MODULE_big = session_files
OBJS = \
	src/access.o \
	src/as_owner.o \
	src/catalog.o \
	src/grants.o \
	src/http_api.o \
	src/owner.o \
	src/row_set.o \
	src/session_files.o \
	src/settings.o \
	src/trigger.o \
	src/uuid7.o \
	src/index/id_lookup.o \
	src/index/leaf.o \
	src/index/name_key.o \
	src/index/scan.o \
	src/ingestion/batch.o \
	src/ingestion/claim.o \
	src/ingestion/claim_state.o \
	src/ingestion/count_changes.o \
	src/ingestion/counts.o \
	src/ingestion/derive_columns.o \
	src/ingestion/digest.o \
	src/ingestion/enqueue.o \
	src/ingestion/lease.o \
	src/ingestion/locate.o \
	src/ingestion/maintenance.o \
	src/ingestion/notify.o \
	src/ingestion/queue.o \
	src/ingestion/queue_walk.o \
	src/ingestion/session_cleanup.o \
	src/ingestion/sessions.o \
	src/ingestion/settle.o \
	src/ingestion/turns.o \
	src/ingestion/write_mode.o \
	src/listing/cors.o \
	src/listing/etag.o \
	src/listing/json.o \
	src/listing/links.o \
	src/listing/list_result.o \
	src/listing/listing.o \
	src/listing/openapi.o \
	src/listing/ordered_scan.o \
	src/listing/percent.o \
	src/listing/request.o \
	src/listing/route.o

# Sources include each other by their path from src.
PG_CPPFLAGS = -I$(srcdir)/src

# The install script, part by part, in the order in which the parts need each other.
SQL_PARTS = \
	sql/parts/00_requirements.sql \
	sql/parts/10_types.sql \
	sql/parts/20_keys.sql \
	sql/parts/30_tables.sql \
	sql/parts/40_counts.sql \
	sql/parts/45_queue.sql \
	sql/parts/50_listing.sql \
	sql/parts/60_ingestion.sql \
	sql/parts/65_sessions.sql \
	sql/parts/70_claims.sql \
	sql/parts/75_maintenance.sql \
	sql/parts/76_check.sql \
	sql/parts/78_access.sql \
	sql/parts/80_views.sql \
	sql/parts/90_privileges.sql
SQL_SCRIPT = sql/$(EXTENSION)--$(EXTVERSION).sql

DATA_built = $(SQL_SCRIPT)
EXTRA_CLEAN = $(SQL_SCRIPT) src/listing/openapi.inc results output_iso log tmp_check

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=session_files
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=session_files

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include src/bitcode.mk
include $(PGXS)

override CFLAGS += -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers

$(SQL_SCRIPT): $(SQL_PARTS)
	cat $(SQL_PARTS) > $@

# The document as C strings, one a line.
src/listing/openapi.inc: src/listing/openapi.json
	sed -e 's/["\\]/\\&/g' -e 's/.*/"&\\n"/' src/listing/openapi.json > $@

src/listing/openapi.o src/listing/openapi.bc: src/listing/openapi.inc

$(OBJS): $(wildcard src/*.h src/*/*.h)

# The HTTP server, a library of its own: it needs libmicrohttpd, cjose and jansson.
.PHONY: http install-http clean-http uninstall-http
http: all
	$(MAKE) -C src/http
install-http: install
	$(MAKE) -C src/http install
clean: clean-http
clean-http:
	$(MAKE) -C src/http clean
uninstall: uninstall-http
uninstall-http:
	$(MAKE) -C src/http uninstall

# What PGXN takes: the last commit, without what .gitattributes leaves out.
.PHONY: dist
dist:
	@[ -e .git ] || { echo 'make dist: takes the files from git, and this is no clone' >&2; exit 1; }
	git archive --format zip --prefix=$(EXTENSION)-$(DISTVERSION)/ -o $(EXTENSION)-$(DISTVERSION).zip HEAD
