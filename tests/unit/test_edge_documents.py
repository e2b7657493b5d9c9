"""The table of words in docs/edge.md is what the code says."""

import dataclasses
import re
from pathlib import Path

from samovar._cli.edge import row
from samovar.edge.admin.told import EdgeSettings, settings

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"


def test_every_word_is_in_the_documents_as_the_code_says_it():
    text = PAGE.read_text(encoding="utf-8")
    missing = [line for field in dataclasses.fields(EdgeSettings) if (line := row(field)) not in text]
    assert not missing, "rows of docs/edge.md that are not as the code has them:\n" + "\n".join(missing)


def test_config_file_of_the_documents_is_read(tmp_path):
    text = re.search(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S).group(1)
    secret, file = tmp_path / "token", tmp_path / "edge.toml"
    secret.write_text("a-secret-of-enough-letters")
    file.write_text(text.replace("/etc/samovar/token", str(secret).replace("\\", "/")))
    edge = settings({}, file, {})
    assert (edge.maxweight, edge.grace, edge.keyed) == (10**9, 3600.0, ("x-forwarded-proto",))
