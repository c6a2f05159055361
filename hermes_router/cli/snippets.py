"""What a person pastes into the programs that are to use the router.

Owns these few lines (docs/clients.md has more of them). Pure.
"""

__all__ = ["snippets"]


def snippets(url: str, key: str) -> list[tuple[str, list[str]]]:
    """Each program's name and its lines; `url` is the router's root, without `/v1`."""
    base = url.rstrip("/")
    return [
        (
            "Hermes Agent, in ~/.hermes/config.yaml",
            [
                "model:",
                "  default: hermes-router",
                "  provider: custom",
                f'  base_url: "{base}/v1"',
                f"  api_key: {key}",
            ],
        ),
        (
            "Claude Code",
            [
                f"export ANTHROPIC_BASE_URL={base}",
                f"export ANTHROPIC_AUTH_TOKEN={key}",
                "export CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1",  # else it may make a tool call twice
                "claude",
            ],
        ),
        (
            "OpenAI's SDK (Python)",
            [f'OpenAI(base_url="{base}/v1",', f'       api_key="{key}")', '# and then model="hermes-router"'],
        ),
        (
            "curl",
            [
                f"curl {base}/v1/chat/completions \\",
                f"  -H 'authorization: Bearer {key}' \\",
                "  -H 'content-type: application/json' \\",
                """  -d '{"model":"hermes-router","messages":[{"role":"user","content":"hi"}]}'""",
            ],
        ),
    ]
