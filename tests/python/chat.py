"""The unmodified `openai` client from PyPI, streamed and not, through the proxy.

Usage: chat.py BASE_URL
"""

import sys

from openai import NotFoundError, OpenAI


def main() -> None:
    client = OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
    models = [model.id for model in client.models.list()]
    assert models == ["bastide-5m"], models
    question = [{"role": "user", "content": "What is Bastide?"}]

    whole = client.chat.completions.create(model=models[0], messages=question, temperature=0, max_tokens=40)
    text = whole.choices[0].message.content
    assert text and whole.usage.completion_tokens > 0, whole
    assert whole.choices[0].finish_reason in ("stop", "length"), whole

    chunks = list(
        client.chat.completions.create(model=models[0], messages=question, temperature=0, max_tokens=40, stream=True)
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == text, (streamed, text)
    assert any(chunk.choices and chunk.choices[0].finish_reason for chunk in chunks)

    raw = client.chat.completions.with_raw_response.create(
        model=models[0], messages=question, temperature=0, max_tokens=4, logprobs=True, top_logprobs=2
    )
    assert raw.headers["x-bastide-verdict"].startswith("accepted"), raw.headers
    assert raw.headers["x-bastide-receipt"], raw.headers
    tokens = raw.parse().choices[0].logprobs.content
    assert tokens and all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens), tokens

    seeded = [
        client.chat.completions.create(
            model=models[0], messages=question, temperature=1.0, seed=7, max_tokens=30
        ).choices[0].message.content
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1], seeded

    try:
        client.chat.completions.create(model="no-such-model", messages=question)
    except NotFoundError as error:
        assert error.code == "model_not_found", error
    else:
        raise AssertionError("a missing model must be an error")
    print("openai client: streamed and not, logprobs, seed, missing model: ok")


if __name__ == "__main__":
    main()
