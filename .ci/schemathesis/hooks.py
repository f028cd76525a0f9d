"""What Schemathesis cannot read from the description of the API."""

import os
import re

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

KNOWN = {
    "domain": (re.compile(r"[a-z][a-z0-9_-]{0,62}"), "accounts"),
    "entityType": (re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}"), "account"),
    # Nobody of the users that send requests: an administrator may see what is hers.
    "userId": (re.compile(r".{1,255}", re.DOTALL), "carol"),
}
EXAMPLES = {'"AxY2c5nOpTu-_9Qw"', '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}

# Refusals that depend on what is stored or on two values of one request: no schema can express them. A request that
# fits its schema may meet these, and no others.
RULES = {
    "DUPLICATE_ENTITY",
    "IDEMPOTENCY_KEY_REUSED",
    "IMMUTABLE_FIELD",
    "INVALID_PAGE_TOKEN",
    "INVALID_SYNC_TOKEN",
    "MALFORMED_PRECONDITION",
    "ORDER_CONFLICT",
    "PRECONDITION_FAILED",
}

# So are these, of the codes INVALID_FIELD and INVALID_JSON: by the field, whose bounds depend on the list or on another
# field or which has a grammar of its own, or by what is said of it: what I-JSON (RFC 7493) and the database can carry,
# or what stands in one request but once.
FIELDS = {"endTime", "etag", "filter", "order", "startTime"}
SAID = (
    "must be a number that a double carries exactly",
    "must be left out beside ",
    "has the character ",
    "has the noncharacter ",
    "has a surrogate ",
    "repeats ",
)


# The calls about an operation that is under way: its id is the last part of its address, which no link can say.
UNDER_WAY = ("getOperation", "cancelOperation", "undoOperation")


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Follows an operation from the answer that begins it."""
    raw_schema["components"]["responses"]["Deferred"]["links"] = {
        call: {"operationId": call, "parameters": {"path.id": "$response.header.Location#regex:/operations/(.+)"}}
        for call in UNDER_WAY
    }


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Asks for what exists instead of what could: the rest is all refused in the same way."""
    exist(case.query)
    exist(case.body)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and case.path.startswith("/operations/") and case.meta.phase.name != "stateful":
        case.path_parameters["id"] = os.environ["FUZZ_API_OPERATION"]
    # It wants a user or a time, and no schema says that one of two parameters has to be there.
    if positive and case.path == "/auditEvents" and not {"userId", "startTime"} & set(case.query or {}):
        case.query = {**(case.query or {}), "userId": KNOWN["userId"][1]}
    # The tag of the description's examples is that of nothing here, and its Idempotency-Key can be used but once.
    for name in [n for n, value in (case.headers or {}).items() if isinstance(value, str) and value in EXAMPLES]:
        del case.headers[name]


def exist(values):
    """Puts in names that exist, in place of well-formed ones; what is malformed on purpose stays."""
    if not isinstance(values, dict):
        return
    for name, (form, known) in KNOWN.items():
        if isinstance(values.get(name), str) and form.fullmatch(values[name]):
            values[name] = known
    for items in ("preferences", "entities"):
        if isinstance(values.get(items), list):
            for item in values[items]:
                exist(item)


@schemathesis.check
def valid_data_meets_rules_only(ctx, response, case):
    """A request that fits the description is accepted, or refused by one of the rules."""
    if case.method == "HEAD" or broken_rule(response):  # an answer to HEAD says no more than its status
        return None
    return positive_data_acceptance(ctx, response, case)


def broken_rule(response):
    """Whether a rule that no schema can express explains the answer."""
    if response.status_code not in (400, 412, 422):
        return False
    error = response.json()["error"]
    if error["code"] in ("INVALID_FIELD", "INVALID_JSON"):
        return all(
            v["field"].rpartition(".")[2] in FIELDS or v["description"].startswith(SAID)
            for v in error["details"]["fieldViolations"]
        )
    return error["code"] in RULES
