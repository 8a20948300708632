"""What users read: the README and those that it leads to, taken apart into examples, commands, tables and links."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """One of them, by its path from the root of the repository."""

    path: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.path).read_text("utf-8")

    @cached_property
    def prose(self) -> str:
        """All but the blocks of code."""
        return BLOCK.sub("", self.text)

    @cached_property
    def examples(self) -> list[str]:
        return [code for language, code in BLOCK.findall(self.text) if language == "python"]

    @cached_property
    def sections(self) -> dict[str, list[list[str]]]:
        """The lines of each block of commands, by the section's title."""
        found = {}
        for part in re.split(r"^## ", self.text, flags=re.MULTILINE):
            blocks = [code for language, code in BLOCK.findall(part) if language == "bash"]
            if blocks:
                found[part.splitlines()[0]] = [
                    [line for line in code.splitlines() if line and not line.startswith("#")] for code in blocks
                ]
        return found

    @property
    def commands(self) -> list[str]:
        return [line for blocks in self.sections.values() for block in blocks for line in block]

    @cached_property
    def anchors(self) -> set[str]:
        """What GitHub makes of the headings."""
        headings = re.findall(r"^#+ (.*)", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}

    def rows(self, heading: str, strip: str = "`") -> list[list[str]]:
        """Return the cells of the table below a heading, without the marks at their ends."""
        table = re.search(r"\n\|.*?\n\n", self.text.split(heading, 1)[1] + "\n\n", re.DOTALL)[0]  # type: ignore[index]
        lines = table.strip().splitlines()[2:]
        return [[cell.strip().strip(strip) for cell in line.strip("|").split(" | ")] for line in lines]


README = Document("README.md")
RECIPES = Document("demo/README.md")
DEPLOY = Document("demo/deploy/README.md")
BENCH = Document("tests/bench/README.md")
DOCUMENTS = (README, RECIPES, DEPLOY, BENCH)
EVERYTHING = "\n".join(document.text for document in DOCUMENTS)
EXAMPLES = [example for document in DOCUMENTS for example in document.examples]
