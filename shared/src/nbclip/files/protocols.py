"""What the protocols of addresses need: packages that read them, and keys, which no address may hold."""

from __future__ import annotations

WEB = ("http", "https")
_AMAZON, _GOOGLE = ("s3", "s3a"), ("gs", "gcs")


def protocol_of(url: str) -> str:
    """What an address begins with, in lower case."""
    return url.partition("://")[0].lower()


def credentials(url: str) -> str:
    """Where the user's keys for an address are read from."""
    protocol = protocol_of(url)
    variable = f"FSSPEC_{protocol.upper()}"
    if protocol in _AMAZON:
        keys = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"""keys are those of AWS: {keys}; without any: {variable}='{{"anon": true}}'"""
    if protocol in _GOOGLE:
        return f"""keys are those of Google: GOOGLE_APPLICATION_CREDENTIALS; without any: {variable}='{{"token": "anon"}}'"""
    if protocol in WEB:
        return f"""user and password are read from ~/.netrc, a token from {variable}='{{"headers": {{"Authorization": …}}}}'"""
    return f"keys are read from {variable}, as fsspec describes"
