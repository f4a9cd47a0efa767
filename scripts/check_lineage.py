"""Whether lineage events are what OpenLineage's own client takes: `python scripts/check_lineage.py EVENTS.jsonl`.

Needs `pip install openlineage-python` (tried with 1.54). Each event and facet is built again with the client's classes, which know the
required fields, and must come out as it went in. Facets that the client does not know are checked for the fields that any
facet has.
"""

import importlib
import json
import pkgutil
import sys

import attr
from openlineage.client import generated
from openlineage.client.generated import base
from openlineage.client.serde import Serde

CLASSES = {
    name: found
    for module in pkgutil.iter_modules(generated.__path__)
    for name, found in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).items()
    if attr.has(found)
}


# Fields that hold what is a class again.
NESTED = {
    ("SchemaDatasetFacet", "fields"): "SchemaDatasetFacetFields",
    ("ColumnLineageDatasetFacet", "fields"): "Fields",
    ("Fields", "inputFields"): "InputField",
    ("InputField", "transformations"): "Transformation",
}


def built(cls, value):
    """`value` as `cls`, which refuses fields that it does not know and the lack of those that it needs."""
    arguments = {name: item for name, item in value.items() if name not in ("_schemaURL", "_producer")}
    for name, item in arguments.items():
        inner = CLASSES.get(NESTED.get((cls.__name__, name)))
        if inner and isinstance(item, list):
            arguments[name] = [built(inner, one) for one in item]
        elif inner:
            arguments[name] = {key: built(inner, one) for key, one in item.items()}
    if "_producer" not in value:
        return cls(**arguments)
    made = cls(**arguments, producer=value["_producer"])
    assert value["_schemaURL"] == made._get_schema(), f"{value['_schemaURL']} is not {made._get_schema()}"
    return made


def facets(of):
    """Facets by name, each as the class that its schema names."""
    out = {}
    for name, facet in of.items():
        cls = CLASSES.get(facet["_schemaURL"].rsplit("/", 1)[-1])
        assert facet["_producer"], f"{name} has no producer"
        out[name] = built(cls, facet) if cls else facet
    return out


def dataset(cls, value, own):
    rest = {own: facets(value[own])} if own in value else {}
    return cls(namespace=value["namespace"], name=value["name"], facets=facets(value["facets"]), **rest)


def said(value):
    """Without what is empty, which the client adds."""
    if isinstance(value, list):
        return [said(item) for item in value]
    if isinstance(value, dict):
        return {name: said(item) for name, item in value.items() if item not in ([], {})}
    return value


def check(event):
    assert event["schemaURL"] == base.RunEvent._get_schema()
    made = base.RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        eventType=base.EventType[event["eventType"]],
        run=base.Run(runId=event["run"]["runId"], facets=facets(event["run"]["facets"])),
        job=base.Job(event["job"]["namespace"], event["job"]["name"], facets(event["job"]["facets"])),
        inputs=[dataset(base.InputDataset, d, "inputFacets") for d in event["inputs"]],
        outputs=[dataset(base.OutputDataset, d, "outputFacets") for d in event["outputs"]],
    )
    again = json.loads(Serde.to_json(made))
    assert said(again) == said(event), f"it comes out otherwise:\n{json.dumps(again)}\n{json.dumps(event)}"


def check_all(path):
    with open(path, encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    for event in events:
        check(event)
    return len(events)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{check_all(sys.argv[1])} events are what openlineage-python takes")
