"""Names of datasets: as tasks and steps say them, and as OpenLineage has them."""

import pytest

from dama.openlineage.datasets import Dataset, Place, dataset_of

HERE = Place("postgres://db:5432", "etl")


@pytest.mark.parametrize(
    ("said", "namespace", "name", "table"),
    [
        ("orders", "postgres://db:5432", "etl.public.orders", ("public", "orders")),
        ("Mart.Orders", "postgres://db:5432", "etl.mart.orders", ("mart", "orders")),
        ('mart."Big ""Orders"""', "postgres://db:5432", 'etl.mart.Big "Orders"',
         ("mart", 'Big "Orders"')),
        ('"a.b"', "postgres://db:5432", "etl.public.a.b", ("public", "a.b")),
        ("naïve", "postgres://db:5432", "etl.public.naïve", ("public", "naïve")),
        ("other.mart.orders", "postgres://db:5432", "etl.other.mart.orders", None),
        ("two words", "postgres://db:5432", "etl.two words", None),
        ("s3://lab/orders/2013", "s3://lab", "orders/2013", None),
        ("S3://Lab", "s3://Lab", "/", None),
        ("postgres://dwh:5433/dwh.mart.x", "postgres://dwh:5433", "dwh.mart.x", None),
        ("file:///data/orders.csv", "file", "/data/orders.csv", None),
        ("/data/orders.csv", "file", "/data/orders.csv", None),
        ("https://example.org/a?b=1#c", "https://example.org", "a?b=1#c", None),
    ],
)  # fmt: skip
def test_a_name_means_a_dataset(said, namespace, name, table):
    """Tables of this database are named by it, so that those who read and write one agree."""
    assert dataset_of(said, HERE) == Dataset(namespace, name, table)
