"""Audits: memorisation, membership and bias."""
