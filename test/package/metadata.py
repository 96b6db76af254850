"""test/package/metadata.py FOLDER: META.json by the PGXN Meta Spec 1.0.0, and the versions in the files of a distribution with each other.

Writes TAP without numbers.
"""

import json
import pathlib
import re
import sys
import traceback

folder = pathlib.Path(sys.argv[1])

SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
RANGE = rf"(0|((<|<=|==|>=|>|!=) *)?{SEMVER})( *, *((<|<=|==|>=|>|!=) *)?{SEMVER})*"
TERM = r"[^\s/\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]+"
TAG = r"[^/\\\x00-\x1f\x7f]{1,255}"
REQUIRED = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"}
OPTIONAL = {"description", "generated_by", "no_index", "prereqs", "release_status", "resources", "tags"}
LICENSES = """agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3 lgpl_2_1 lgpl_3_0 mit
    mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib open_source restricted unrestricted unknown""".split()


def read(name):
    return (folder / name).read_text(encoding="utf-8")


def is_text(value):
    return isinstance(value, str) and value != ""


def matches(pattern, value):
    assert isinstance(value, str) and re.fullmatch(pattern, value), f"{value!r} is not {pattern}"


def has_keys(value, required, optional):
    """Keys that the spec does not know begin with x_."""
    assert required <= value.keys(), f"missing: {required - value.keys()}"
    unknown = {key for key in value.keys() - required - optional if not re.match("[xX]_", key)}
    assert not unknown, f"unknown: {unknown}"


def test_keys():
    """META.json has the keys of the PGXN Meta Spec"""
    has_keys(meta, REQUIRED, OPTIONAL)
    has_keys(meta["meta-spec"], {"version"}, {"url"})
    assert meta["meta-spec"]["version"] == "1.0.0"
    assert meta["meta-spec"].get("url", "https://pgxn.org/meta/spec.txt").endswith("pgxn.org/meta/spec.txt")


def test_values():
    """its values are what the spec says"""
    matches(TERM, meta["name"])
    matches(SEMVER, meta["version"])
    for key in {"abstract", "description", "generated_by"} & meta.keys():
        assert is_text(meta[key]), key
    maintainers = meta["maintainer"] if isinstance(meta["maintainer"], list) else [meta["maintainer"]]
    assert maintainers and all(map(is_text, maintainers))
    assert meta["license"] in LICENSES, meta["license"]
    assert meta.get("release_status", "stable") in ("stable", "testing", "unstable")
    assert meta.get("tags", ["a"]), "no tag"
    for tag in meta.get("tags", []):
        matches(TAG, tag)
    has_keys(meta.get("resources", {}), set(), {"homepage", "bugtracker", "repository"})


def test_provides():
    """it provides the extension, by files that are there"""
    assert list(meta["provides"]) == ["session_files"]
    for name, provided in meta["provides"].items():
        matches(TERM, name)
        has_keys(provided, {"file", "version"}, {"abstract", "docfile"})
        matches(SEMVER, provided["version"])
        for key in {"file", "docfile"} & provided.keys():
            assert (folder / provided[key]).is_file(), provided[key]


def test_prereqs():
    """its prerequisites are what the spec says"""
    for phase, relations in meta.get("prereqs", {}).items():
        assert phase in ("configure", "build", "test", "runtime", "develop"), phase
        for relation, needed in relations.items():
            assert relation in ("requires", "recommends", "suggests", "conflicts"), relation
            for name, version in needed.items():
                matches(TERM, name)
                matches(RANGE, version)


def test_versions():
    """META.json, the control file, the folder and both changelogs have one version"""
    version = meta["version"]
    default = re.search(r"^default_version = '(.*)'$", read("session_files.control"), re.M)[1]
    found = {
        "provides": meta["provides"]["session_files"]["version"],
        "control": default + "." + version.rpartition(".")[2],
        "folder": folder.name.removeprefix("session_files-"),
        "CHANGELOG.md": re.search(r"^## (\S+)", read("CHANGELOG.md"), re.M)[1],
        "debian/changelog": re.match(r"session-files \((\S+)\) ", read("debian/changelog"))[1],
    }
    assert re.fullmatch(r"\d+\.\d+", default), default
    assert found == dict.fromkeys(found, version), found


def test_content():
    """the zip has what its users need, and nothing of its developers'"""
    top = {path.name for path in folder.iterdir() if path.suffix != ".md"}
    needed = set("LICENSE META.json Makefile debian docs examples expected http postgrest session_files.control sql src test".split())
    assert top == needed, top ^ needed
    for document in {"README.md", "CHANGELOG.md"} | set(re.findall(r"\]\(((?:docs/)?[A-Za-z]+\.md)", read("README.md"))):
        assert (folder / document).is_file(), document
    assert {path.name for path in (folder / "test").iterdir()} == {"specs", "sql"}


meta = json.loads(read("META.json"))
for test in test_keys, test_values, test_provides, test_prereqs, test_versions, test_content:
    try:
        test()
        print(f"ok - {test.__doc__}", flush=True)
    except Exception:
        print(f"not ok - {test.__doc__}", *traceback.format_exc().splitlines(), sep="\n# ", flush=True)
