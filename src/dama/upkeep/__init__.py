"""Upkeep: what an operator looks at and tidies up."""
