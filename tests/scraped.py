"""What `/metrics` says, read by the library's own parsers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Scraped:
    """The families, by name, in the order in which they came."""

    families: dict[str, Metric]

    def get(self, name: str, **labels: str) -> float | None:
        """The sample of that name with exactly these labels; None if there is none."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None

    def __call__(self, name: str, **labels: str) -> float:
        """As `get`.

        :raises LookupError: there is none
        """
        found = self.get(name, **labels)
        if found is None:
            raise LookupError(f"there is no {name} of {labels}")
        return found

    def labels(self) -> set[str]:
        """All values of labels."""
        return {value for each in self.families.values() for sample in each.samples for value in sample.labels.values()}


def read(text: str, *, openmetrics: bool = False) -> Scraped:
    """What a scrape brought."""
    parse: Callable[[str], Iterable[Metric]] = read_openmetrics if openmetrics else read_text
    found = list(parse(text))
    assert len({family.name for family in found}) == len(found), "a family is there twice"
    return Scraped({family.name: family for family in found})


def shows(name: str, value: float, **labels: str) -> Callable[[Scraped], bool]:
    """Whether that is the value."""
    return lambda seen: seen(name, **labels) == value
