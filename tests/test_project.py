"""What the project promises about itself: pins, imports, file sizes, no pickles, an install that says what it lacks."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = {"app", "components", "corpus", "tests"}
TYPES_ONLY = {"_typeshed"}  # the type checker has it, no installed package does
OPTIONAL = {"ir_datasets"}  # used where it is installed; what imports it says how to install it
MAX_FILE_LINES = 420  # lines; a longer file is asking to be two
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[0-9][A-Za-z0-9.]*)  # (?P<reason>\S.{4,})")


def sources() -> list[Path]:
    """The Python files that run for a user: no tests, nothing that was built."""
    files = [*ROOT.glob("app.py"), *(ROOT / "components").rglob("*.py"), *(ROOT / "corpus").rglob("*.py")]
    return sorted(f for f in files if not f.is_relative_to(ROOT / "corpus" / "built"))


def normalise(name: str) -> str:
    """A distribution's name as packaging compares them: `umap_learn` and `umap-learn` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines(file: str) -> list[str]:
    lines = (line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def pins(file: str) -> dict[str, str]:
    """Normalised name -> version of each line that is an exact pin."""
    matches = (PIN.fullmatch(line) for line in requirement_lines(file))
    return {normalise(m["name"]): m["version"] for m in matches if m}


# -- Requirements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_has_an_exact_pin_and_a_reason(file: str) -> None:
    wrong = [line for line in requirement_lines(file) if not PIN.fullmatch(line)]
    assert not wrong, f"{file}: write `name==version  # why it is here`, not {wrong}"


def test_no_requirement_is_named_twice() -> None:
    names = [line.split("==")[0] for f in ("requirements.txt", "requirements-dev.txt") for line in requirement_lines(f)]
    assert sorted(map(normalise, names)) == sorted(set(map(normalise, names)))


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_what_is_installed_is_what_is_pinned(file: str) -> None:
    # A local part (torch's "+cpu") names a build of the same version.
    installed = {name: importlib.metadata.version(name).split("+")[0] for name in pins(file)}
    assert installed == pins(file)


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Top-level names that a module imports, wherever in it, also by `importlib.import_module("...")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))
            yield from (name.split(".")[0] for name in names)


def test_every_third_party_import_is_a_requirement() -> None:
    carried_by = importlib.metadata.packages_distributions()
    required = set(pins("requirements.txt"))
    ours = FIRST_PARTY | TYPES_ONLY | OPTIONAL | set(sys.stdlib_module_names)
    missing = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources()
        for name in set(imported_names(ast.parse(file.read_text(encoding="utf-8")))) - ours
        if not required & {normalise(d) for d in carried_by.get(name, [name])}
    }
    assert not missing, f"imported, but not in requirements.txt: {sorted(missing)}"


def test_every_requirement_is_used() -> None:
    names_of: dict[str, set[str]] = {}
    for name, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            names_of.setdefault(normalise(distribution), set()).add(name)
    text = "\n".join(file.read_text(encoding="utf-8") for file in sources())
    unused = [
        requirement
        for requirement in pins("requirements.txt")
        if not any(re.search(rf"\b{re.escape(n)}\b", text) for n in names_of[requirement] - FIRST_PARTY)
    ]
    assert not unused, f"in requirements.txt, but no source names them: {unused}"


# -- Sources ----------------------------------------------------------------------------------------------------------

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Keyword -> the values that it may be given. Written out, the value must be a constant: a variable could be either.
ALLOWED_VALUES: dict[str, tuple[object, ...]] = {
    "allow_pickle": (False,),
    "weights_only": (True,),
    "unsafe_allow_html": (False,),
    "use_container_width": (),  # gone from Streamlit; width="stretch"
}


def forbidden(code: str) -> list[str]:
    """What in `code` could run a file's content, put a paper's text on the page as HTML, or is gone from Streamlit.

    Read from the syntax tree, so that a docstring may still say why there is no pickle.
    """
    tree = ast.parse(code)
    found = [f"import of {name}" for name in imported_names(tree) if name in UNPICKLERS]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = {k.arg: k.value for k in call.keywords if k.arg}
        for name in given.keys() & ALLOWED_VALUES.keys():
            value = given[name]
            if not (isinstance(value, ast.Constant) and value.value in ALLOWED_VALUES[name]):
                found.append(f"line {call.lineno}: {name}={ast.unparse(value)}")
        called = ast.unparse(call.func)
        if called == "torch.load" and "weights_only" not in given:
            found.append(f"line {call.lineno}: torch.load without weights_only=True")
        if called.split(".")[-1] in {"read_pickle", "to_pickle"}:
            found.append(f"line {call.lineno}: {called}")
    return found


def test_no_source_unpickles_or_trusts_html() -> None:
    found = {str(f.relative_to(ROOT)): forbidden(f.read_text(encoding="utf-8")) for f in sources()}
    assert not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "import importlib\nimportlib.import_module('pickle')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "st.markdown(text, unsafe_allow_html=True)",
        "st.dataframe(table, use_container_width=True)",
        "pd.read_pickle(path)",
    ],
)
def test_the_check_finds_what_is_planted(planted: str) -> None:
    assert forbidden(planted)


def test_the_check_lets_safe_calls_pass() -> None:
    assert not forbidden(
        '"""Never a pickle."""\n'
        "np.load(path, allow_pickle=False)\ntorch.load(path, weights_only=True)\nst.markdown(text)\n"
    )


def tracked_files() -> list[Path]:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: nothing says which files are the project's")
    files = (ROOT / os.fsdecode(name) for name in listing.stdout.split(b"\0") if name)
    return [file for file in files if file.is_file()]


def test_no_python_file_is_longer_than_it_should_be() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in tracked_files()
        if file.suffix == ".py"
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}


# -- Make -------------------------------------------------------------------------------------------------------------


def planned(folder: Path, *arguments: str) -> str:
    """What make would run in a folder with our Makefile."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    (folder / "pyproject.toml").touch()
    (folder / "requirements-dev.txt").touch()
    told = subprocess.run(["make", "-n", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return told.stdout


def test_make_installs_again_where_the_python_of_the_venv_is_gone(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    planned(tmp_path)  # puts the requirements there, before the stamps
    for stamp in (".installed-runtime", ".installed-dev"):
        (tmp_path / ".venv" / stamp).touch()
        os.utime(tmp_path / ".venv" / stamp, (2**31, 2**31))
    assert ".ci/install" not in planned(tmp_path, "app")
    assert ".ci/install" not in planned(tmp_path, "lint")
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert ".ci/install requirements.txt" in planned(tmp_path, "app")
    assert ".ci/install requirements-dev.txt" in planned(tmp_path, "lint")


def test_make_app_serves_this_machine_alone_unless_told(tmp_path: Path) -> None:
    assert "--server.port 8501 --server.address localhost" in planned(tmp_path, "app")
    assert "--server.address 0.0.0.0" in planned(tmp_path, "app", "HOST=0.0.0.0")


# -- Papers about the project -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff"])
def test_the_project_says_what_it_is(name: str) -> None:
    assert (ROOT / name).is_file(), f"{name} is missing"
    assert (ROOT / name).read_text(encoding="utf-8").strip(), f"{name} is empty"


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    changelog = re.search(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert citation and citation[1] == version
    assert changelog and changelog[1] == version


# -- Installing -------------------------------------------------------------------------------------------------------


def test_make_test_goes_from_quick_to_slow() -> None:
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    clean = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    plan = subprocess.run(["make", "-n", "test"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    steps = re.findall(r'^echo "== (.*?)";', plan.stdout, re.M)
    assert steps == ["ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"]


@pytest.fixture
def check_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs .ci/check-tools on a made-up machine, on which there are only the commands given as name=shell script."""
    shell = shutil.which("sh")
    if not shell:
        pytest.skip("no sh here: .ci/check-tools is for machines with make")

    def run(environment: dict[str, str], **commands: str) -> subprocess.CompletedProcess[str]:
        for name, script in commands.items():
            stub = tmp_path / name.replace("_", ".")
            stub.write_text(f"#!{shell}\n{script}\n", encoding="utf-8")
            stub.chmod(0o755)
        return subprocess.run(
            [shell, str(ROOT / ".ci" / "check-tools")],
            env={"PATH": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


GOOD_COMPILER = "exit 0"


def test_a_bare_machine_is_reported_everything_at_once(check_tools) -> None:
    result = check_tools({})
    assert result.returncode == 1
    assert "CPython 3.11" in result.stderr
    assert "C++ compiler" in result.stderr
    for command in (
        "apt-get install python3 python3-venv python3-dev g++",
        "dnf install python3.13 python3.13-devel gcc-c++",
        "xcode-select --install && brew install python@3.13",
    ):
        assert command in result.stderr


def test_a_missing_compiler_is_the_only_thing_asked_for(check_tools) -> None:
    result = check_tools({}, python3_12="echo found 3.12 none")
    assert result.returncode == 1
    assert "CPython" not in result.stderr
    assert re.search(r"apt-get install g\+\+$", result.stderr, re.M)


def test_a_compiler_that_does_not_work_is_no_compiler(check_tools) -> None:
    result = check_tools({}, python3="echo found 3.12 c++", **{"c++": "echo 'no developer tools' >&2; exit 1"})
    assert result.returncode == 1
    assert "a C++ compiler that works" in result.stderr


def test_an_old_python_is_named_with_its_version(check_tools) -> None:
    result = check_tools({}, python3="echo unfit cpython 3.9", **{"g++": GOOD_COMPILER})
    assert result.returncode == 1
    assert "python3 is cpython 3.9" in result.stderr
    assert "C++ compiler" not in result.stderr


def test_parts_that_debian_splits_off_are_asked_for_by_the_version_in_use(check_tools) -> None:
    result = check_tools({}, python3_12="echo found 3.12 g++ venv headers", **{"g++": GOOD_COMPILER})
    assert result.returncode == 1
    assert "apt-get install python3.12-venv python3.12-dev" in result.stderr


def test_a_complete_python_is_preferred_to_a_newer_one_that_lacks_its_headers(check_tools) -> None:
    result = check_tools(
        {}, python3_13="echo found 3.13 g++ headers", python3_11="echo found 3.11 g++", **{"g++": GOOD_COMPILER}
    )
    assert result.returncode == 0, result.stderr
    assert "Found Python 3.11 (python3.11)" in result.stdout


def test_choices_that_do_not_fit_are_named(check_tools) -> None:
    result = check_tools(
        {"PYTHON": "nopython", "CXX": "nocompiler"}, python3="echo found 3.12 g++", **{"g++": "exit 0"}
    )
    assert result.returncode == 1
    assert "PYTHON=nopython" in result.stderr
    assert "CXX=nocompiler" in result.stderr


def test_the_running_python_is_recognised(check_tools) -> None:
    result = check_tools({"PYTHON": sys.executable, "CXX": "g++"}, **{"g++": GOOD_COMPILER})
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"Found Python {found}" in result.stdout or "Python.h" in result.stderr  # it may have come without headers
