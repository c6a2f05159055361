"""hermes_router/cli/snippets.py: lines to paste, with the key and the address in their places."""

import tomllib

from hermes_router.cli.snippets import snippets


def test_each_program_gets_its_address_and_the_key() -> None:
    """Chat callers want `/v1` behind the root, Anthropic's do not; a closing slash does no harm."""
    found = {name: "\n".join(lines) for name, lines in snippets("http://localhost:8319/", "sk-hr-x")}
    assert 'base_url: "http://localhost:8319/v1"' in found["Hermes Agent, in ~/.hermes/config.yaml"]
    assert "ANTHROPIC_BASE_URL=http://localhost:8319\n" in found["Claude Code"]
    assert "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1\n" in found["Claude Code"]
    assert 'base_url="http://localhost:8319/v1"' in found["OpenAI's SDK (Python)"]
    assert "http://localhost:8319/v1/chat/completions" in found["curl"]
    assert all("sk-hr-x" in text for text in found.values())


def test_the_lines_are_what_they_say() -> None:
    """The YAML is a table of plain values, the Python compiles."""
    found = dict(snippets("http://localhost:8319", "sk-hr-x"))
    fields = found["Hermes Agent, in ~/.hermes/config.yaml"][1:]
    toml = "\n".join(line.strip().replace(": ", ' = "', 1).replace('""', '"').rstrip('"') + '"' for line in fields)
    assert tomllib.loads(toml)["default"] == "hermes-router"
    compile("\n".join(found["OpenAI's SDK (Python)"]), "snippet", "exec")
