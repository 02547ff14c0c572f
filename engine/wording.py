"""How answers are worded in spans and lines of the log."""

from __future__ import annotations

from ipledger.engine.answers import Allocated, AnyAnswer, Refused, Released, Retained, TryAgain


def facts_of(answer: AnyAnswer) -> dict[str, str]:
    """What an answer says, by the words of spans and log lines; what it does not is left out."""
    facts = {"position": getattr(answer, "position", "")}
    match answer:
        case Allocated():
            facts["allocation"] = answer.allocation.id
            facts["addresses"] = ",".join(a.address for a in answer.allocation.addresses)
        case Released():
            facts["allocation"] = answer.allocation
        case Retained():
            facts["allocation"] = ",".join(answer.released)
        case Refused():
            facts["reason"] = answer.refusal.reason
        case TryAgain():
            facts["reason"] = answer.message
        case _:
            facts["outcome"] = getattr(answer, "outcome", "")
    return {word: text for word, text in facts.items() if text}


def attributes_of(facts: dict[str, str]) -> dict[str, str]:
    """The facts as attributes of a span."""
    return {f"ipledger.{word}": text for word, text in facts.items()}
