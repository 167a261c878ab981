"""What is wrong with a zoo, one line a finding."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from zoo.format.escape import one_line

CHANGED = "has changed: its sha256 is not the one in SHA256SUMS"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file. `beside`: other files without whose content it would not be known."""

    file: str  # its path in the zoo
    text: str  # goes on after the name
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return one_line(f"{self.file} {self.text}")


@dataclass
class Findings:
    """One finding a file, the first: what contradicts a file that is damaged is no finding of its own."""

    found: list[Finding] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # files with a finding, and folders, with a slash at the end

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if self.are_sound(finding.file, *finding.beside):
                self.found.append(finding)
                self.damaged.add(finding.file)

    def are_sound(self, *names: str) -> bool:
        return all(self.damaged.isdisjoint([name, *folders_of(name)]) for name in names)


def folders_of(name: str) -> list[str]:
    """The folders that a file is in, the outermost first, each with a slash at its end."""
    *folders, _ = name.split("/")
    return ["/".join(folders[: depth + 1]) + "/" for depth in range(len(folders))]
