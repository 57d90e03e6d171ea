"""The section `publish`: where a study's results are written, and the table of publishers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainSerializer, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails

from hposlurm.errors import RequestError
from hposlurm.spec.fields import Section, Text, complaint, quoted


class NoOptions(Section):
    """The options of a publisher that has none."""


def _without_password(url: str) -> str:
    """Refuses a password in an address: study files are kept and shared."""
    try:
        has_password = urlsplit(url).password is not None
    except ValueError:
        raise complaint(f"is not an address: {quoted(url)}") from None
    if has_password:
        raise complaint("must not contain a password; export HPOSLURM_DB_PASSWORD where hposlurm runs, or ~/.pgpass")
    return url


Address = Annotated[Text, AfterValidator(_without_password)]


def _storage(url: str) -> str:
    known = ("sqlite:///", "postgresql", "mysql", "mariadb", "journal:")
    if not url.startswith(known):
        raise complaint(
            "must be sqlite:///FILE, journal:FILE, postgresql+psycopg://USER@HOST/DATABASE or "
            f"mysql+pymysql://USER@HOST/DATABASE, not {quoted(url)}"
        )
    return url


class OptunaOptions(Section):
    """An Optuna storage. Relative files lie in the study's directory."""

    storage: Annotated[Address, AfterValidator(_storage)] = "sqlite:///optuna.db"
    #: The name of the study there; None: its own.
    study_name: Text | None = None


class MlflowOptions(Section):
    """An MLflow tracking server, or its SQLite file (sqlite:////absolute/path)."""

    #: None: $MLFLOW_TRACKING_URI.
    uri: Address | None = None
    #: None: the name of the study.
    experiment: Text | None = None


class WandbOptions(Section):
    """A W&B project. The key comes from the environment (WANDB_API_KEY) or from ~/.netrc."""

    #: None: the name of the study.
    project: Text | None = None
    entity: Text | None = None
    mode: Literal["offline", "online"] = "offline"
    #: Where the runs are written; relative to the study's directory.
    dir: Text | None = None


class TrackioOptions(Section):
    """A Trackio project."""

    #: None: the name of the study.
    project: Text | None = None
    #: None: $TRACKIO_DIR, or Trackio's own default.
    dir: Text | None = None


class TensorBoardOptions(Section):
    """A directory of event files, relative to the study's."""

    dir: Text | None = None


@dataclass(frozen=True, slots=True)
class PublisherKind:
    """The facts about a publisher."""

    #: "module:Class", imported when the study is published. The class is constructed with the options
    #: (publish/base.py).
    implementation: str
    #: True for files in the study directory, False for a service outside of it.
    is_local: bool
    #: The keys below the publisher's name in the study file.
    options: type[Section] = NoOptions
    #: The option that `export --to NAME:TARGET` sets; "" if it takes none.
    target: str = ""


#: A new publisher needs a row here and its class.
PUBLISHERS: dict[str, PublisherKind] = {
    "sqlite": PublisherKind("hposlurm.publish.sqlite:Database", is_local=True),
    "csv": PublisherKind("hposlurm.publish.csv:Tables", is_local=True),
    "tensorboard": PublisherKind(
        "hposlurm.publish.tensorboard:TensorBoard", is_local=True, options=TensorBoardOptions, target="dir"
    ),
    "optuna": PublisherKind(
        "hposlurm.publish.optuna:OptunaStorage", is_local=False, options=OptunaOptions, target="storage"
    ),
    "mlflow": PublisherKind("hposlurm.publish.mlflow:Mlflow", is_local=False, options=MlflowOptions, target="uri"),
    "wandb": PublisherKind("hposlurm.publish.wandb:Wandb", is_local=False, options=WandbOptions, target="project"),
    "trackio": PublisherKind(
        "hposlurm.publish.trackio:Trackio", is_local=False, options=TrackioOptions, target="project"
    ),
}


@dataclass(frozen=True, slots=True)
class PublisherEntry:
    """One entry of the section: the publisher's name and its options."""

    name: str
    options: Section

    @property
    def kind(self) -> PublisherKind:
        """Returns the publisher's row in the table."""
        return PUBLISHERS[self.name]


def options_of(pattern: str) -> type[Section] | None:
    """Returns the options of the publisher at `pattern` ("publish.*.csv"); None for any other pattern."""
    name = pattern.removeprefix("publish.*.")
    return PUBLISHERS[name].options if name != pattern and name in PUBLISHERS else None


def _entry(value: Any) -> PublisherEntry:
    """Reads "csv" or {"csv": {…}}. Raises ValidationError with all problems, each at its path below the entry."""
    if isinstance(value, PublisherEntry):
        return value
    if isinstance(value, dict) and len(value) != 1:
        raise complaint(f"must be a publisher's name, or a mapping of one name to its options, not {quoted(value)}")
    name, given = next(iter(value.items())) if isinstance(value, dict) else (value, None)
    if not isinstance(name, str) or name not in PUBLISHERS:
        expected = " or ".join(f"'{known}'" for known in PUBLISHERS)
        wrong = InitErrorDetails(type="literal_error", loc=(), input=name, ctx={"expected": expected})
        raise ValidationError.from_exception_data("publish", [wrong])
    options = {} if given is None else given
    if isinstance(options, dict):  # null unsets an option, as everywhere in the file
        options = {str(key): option for key, option in options.items() if option is not None}
    # a mapping, so that the problems are found at NAME.OPTION
    kind: Any = GenericAlias(dict, (str, PUBLISHERS[name].options))
    mapping: TypeAdapter[dict[str, Section]] = TypeAdapter(kind)
    return PublisherEntry(name, mapping.validate_python({name: options})[name])


def entry_of(text: str, settings: Iterable[str] = ()) -> PublisherEntry:
    """Returns the publisher that `NAME` or `NAME:TARGET` names, with options "key=value". Raises RequestError."""
    name, colon, target = text.partition(":")
    kinds = [known for known, kind in PUBLISHERS.items() if kind.target]
    if name not in kinds:
        raise RequestError(f"--to {text}: {name!r} is not one of {', '.join(kinds)}")
    if target.startswith("//"):
        raise RequestError(f"--to {text}: write the whole address after the first colon, as in mlflow:http://host:5000")
    options = dict(_option(setting) for setting in settings)
    if colon:
        options[PUBLISHERS[name].target] = target
    try:
        return _entry({name: options})
    except ValidationError as error:
        found = ((".".join(map(str, e["loc"][1:])), e["msg"]) for e in error.errors())
        raise RequestError("; ".join(f"--to {name}: {key} {message}" for key, message in found)) from None


def _option(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise RequestError(f"--set {setting!r} is not KEY=VALUE")
    return key, value


def _dumped(entry: PublisherEntry) -> str | dict[str, Any]:
    options = entry.options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {entry.name: options} if options else entry.name


def _each_once(entries: tuple[PublisherEntry, ...]) -> tuple[PublisherEntry, ...]:
    """Returns `entries` without duplicates.

    Options must not differ: what a publisher was sent is recorded by its name.
    """
    found: dict[str, PublisherEntry] = {}
    for entry in entries:
        if found.setdefault(entry.name, entry) != entry:
            raise complaint(f"{entry.name} is listed twice, with different options")
    return tuple(found.values())


PublishSection = Annotated[
    tuple[Annotated[PublisherEntry, PlainValidator(_entry), PlainSerializer(_dumped)], ...], AfterValidator(_each_once)
]
DEFAULT: tuple[PublisherEntry, ...] = (PublisherEntry("sqlite", NoOptions()), PublisherEntry("csv", NoOptions()))
