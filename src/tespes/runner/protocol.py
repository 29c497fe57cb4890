"""What TESPES and the runner say to each other, for the type checker only: nothing imports this module at run time."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Protocol, TypedDict

JsonObject = Dict[str, Any]


class Order(TypedDict):
    """What the job carries: where to claim the attempt, and with which token."""

    job_id: str
    callback_url: str
    token: str
    claim_timeout_s: float
    report_patience_s: float


class _File(TypedDict):
    index: int
    path: str
    type: str
    through: bool


class File(_File, total=False):
    """An input or an output: `index` names it in the transfer routes, `path` is where the container sees it.

    `through`: whether its bytes pass through TESPES; if not, the node asks for a `Way` right before each transfer.
    Outputs have `is_pattern`: whether the path has wildcards. If it has none, `*?[` are characters like others.
    """

    is_pattern: bool


class Habits(TypedDict):
    """How files are moved: `at_once` at a time; `silence_s` is how long a storage may say nothing; at most `most_files`
    belong to a task; `missing` says what an output that is not there is, a `note` or a `fail`ure.
    """

    at_once: int
    silence_s: float
    most_files: int
    missing: str


class Listed(TypedDict, total=False):
    """A line of the answer to POST /transfer/{job}/inputs/{index}/list (application/x-ndjson).

    `name` is a path below the input's, with `size_bytes` if that is known, or with `is_directory`. The last line is
    `end` (true), or `problem` (detail, retryable): without either the answer was cut off. The only line before `end` may be
    `look`: a way to a page with links, at which the node looks itself.
    """

    name: str
    size_bytes: Optional[int]
    is_directory: bool
    look: "Way"
    problem: JsonObject
    end: bool


class Way(TypedDict, total=False):
    """How one file is moved (POST /transfer/{job}/{inputs|outputs}/{index}/ways): the answer for each name or file asked.

    `through`: by GET or PUT at the transfer routes. `url`, with `headers`: by one request straight to the storage; it may have
    a signature, so `shown` is what people may see. `upload`: in parts of `part_bytes`, whose URLs are asked for one by one.
    """

    through: bool
    url: str
    headers: Dict[str, str]
    shown: str
    upload: str
    part_bytes: int


class MovedFile(TypedDict):
    """A file that was fetched or stored, of the input or output `index`; `path` is its own, in the container."""

    index: int
    path: str
    size_bytes: int
    sha256: str


class Executor(TypedDict, total=False):
    """One command of the task (TES 1.1, tesExecutor)."""

    image: str
    command: List[str]
    workdir: Optional[str]
    stdin: Optional[str]
    stdout: Optional[str]
    stderr: Optional[str]
    env: Optional[Dict[str, str]]
    ignore_error: Optional[bool]


class EndedExecutor(TypedDict):
    """How one command ended (TES 1.1, tesExecutorLog). Times are UTC with whole milliseconds."""

    executor: int
    exit_code: int
    started_at: str
    ended_at: str
    stdout: str
    stderr: str


class Resources(TypedDict, total=False):
    cpu_cores: Optional[float]
    ram_gb: Optional[float]
    disk_gb: Optional[float]


class RuntimeOrder(TypedDict, total=False):
    """What the settings say of the runtime (settings.runtimes): `kind` is always there, the rest differs."""

    kind: str
    program: str
    network: str
    host: Optional[str]
    user: Optional[str]
    arguments: List[str]
    run_arguments: List[str]
    limits: bool


class Plan(TypedDict):
    """What TESPES answers to the claim: all that the attempt is to do, and in which time if there is a limit."""

    job_id: str
    inputs: List[File]
    outputs: List[File]
    volumes: List[str]
    executors: List[Executor]
    resources: Resources
    runtime: RuntimeOrder
    files: Habits
    tail_bytes: int
    heartbeat_s: float
    report_patience_s: float
    running_s: Optional[float]


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    pid: int

    def wait(self) -> int: ...
    def poll(self) -> Optional[int]: ...
    def kill(self) -> None: ...


class Runtime(Protocol):
    """The promise behind which containers are run; see `runtime.chosen`."""

    def notes(self, plan: Plan) -> List[str]:
        """What the user should know: a limit that is not enforced, an image that is not used."""

    def removal(self, plan: Plan) -> List[str]:
        """A command that removes what would outlive a killed runner; empty if nothing does."""

    def prepare(self, plan: Plan) -> None:
        """All that can fail before the first executor begins is done, or a `SystemFailure` is raised."""

    def start(self, index: int, executor: Executor, streams: List[int]) -> Process:
        """The executor is running, with stdin, stdout and stderr taken from three file descriptors."""

    def kill(self, index: int, process: Process) -> None:
        """The executor and all it started are gone. May be called from another thread."""

    def exit_code(self, index: int, executor: Executor, returncode: int, stderr: str) -> int:
        """The executor's own exit code; a `SystemFailure` if it was the runtime that failed. Nothing of it is left."""
