"""The errors the simulated upstream can answer with, in the vocabularies of both wires and of z.ai."""

from __future__ import annotations

from transports.simulation.wire import Failure

#: By the status that names the scenario. 529 is Anthropic's; on the OpenAI-shaped wire the same condition is a 503.
FAILURES: dict[int, Failure] = {
    failure.status: failure
    for failure in (
        Failure(400, "invalid_request_error", "invalid_request_error", "invalid_value", "Simulated: the request is invalid"),
        Failure(401, "authentication_error", "invalid_request_error", "invalid_api_key", "Simulated: the API key is invalid"),
        Failure(402, "billing_error", "insufficient_quota", "insufficient_quota", "Simulated: the balance is exhausted"),
        Failure(403, "permission_error", "permission_error", "permission_denied", "Simulated: not allowed for this key"),
        Failure(404, "not_found_error", "invalid_request_error", "model_not_found", "Simulated: no such model"),
        Failure(413, "request_too_large", "invalid_request_error", "request_too_large", "Simulated: the request is too large"),
        Failure(429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded", "Simulated: too many requests"),
        Failure(500, "api_error", "server_error", "internal_error", "Simulated: internal server error"),
        Failure(503, "overloaded_error", "server_error", "service_unavailable", "Simulated: the service is unavailable"),
        Failure(529, "overloaded_error", "server_error", "overloaded", "Simulated: overloaded", chat_status=503),
    )
}

#: Seconds a 429 asks to wait unless the model name says otherwise.
RETRY_AFTER = "1"

#: z.ai's business codes, which come as strings and may come with status 200. Others get a message of their own.
ZAI_MESSAGES = {
    "1113": "Insufficient balance or no resource package. Please recharge.",
    "1210": "Invalid API parameter, please check the documentation.",
    "1214": "Invalid parameter value.",
    "1261": "Prompt exceeds max length",
    "1302": "High concurrency usage of this API, please reduce concurrency.",
    "1305": "The service may be temporarily overloaded, please try again later.",
}

#: What servers say when a prompt is too long, apart from the two vendors themselves: (status, body).
#: z.ai as quoted in zeroclaw issue 4124 (2026-03-21); vLLM and llama.cpp as their servers word it.
OVERFLOWS: dict[str, tuple[int, dict[str, object]]] = {
    "zai": (400, {"error": {"code": "1261", "message": ZAI_MESSAGES["1261"]}}),
    "vllm": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "llama": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 40000,
                "n_ctx": 32768,
            }
        },
    ),
}
