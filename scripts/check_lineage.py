"""Whether lineage events are what OpenLineage's own client takes: `python scripts/check_lineage.py EVENTS.jsonl`.

Needs `pip install openlineage-python`. Each event and facet is built again with the client's classes, which know the
required fields, and must come out as it went in. Facets that the client does not know are checked for the fields that any
facet has.
"""

import importlib
import json
import pkgutil
import sys
import typing

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


def built(cls, value):
    """`value` as `cls` and the classes of its fields."""
    if isinstance(value, list):
        return [built(cls, item) for item in value]
    hints = typing.get_type_hints(cls, vars(sys.modules[cls.__module__]))
    own = {field.name.lstrip("_"): field for field in attr.fields(cls) if field.init}
    unknown = set(value) - set(own) - {"schemaURL", "_schemaURL", "_producer"}
    assert not unknown, f"{cls.__name__} has no fields {sorted(unknown)}"
    arguments = {}
    for name, item in value.items():
        plain = name.lstrip("_")
        if plain in own:
            arguments[plain] = nested(hints[own[plain].name], item)
    made = cls(**arguments)
    for name in ("schemaURL", "_schemaURL"):
        if name in value:
            assert value[name] == made._get_schema(), f"{value[name]} is not {made._get_schema()}"
    return made


def nested(hint, item):
    """The classes that a field's type names, applied to its value."""
    for inner in typing.get_args(hint) or (hint,):
        if attr.has(inner) and isinstance(item, (dict, list)):
            return built(inner, item)
        if typing.get_args(inner) and isinstance(item, (dict, list)):
            if isinstance(item, dict) and typing.get_origin(inner) is dict and attr.has(typing.get_args(inner)[1]):
                return {key: built(typing.get_args(inner)[1], value) for key, value in item.items()}
            item = nested(inner, item)
    if isinstance(item, dict) and typing.get_origin(hint) is dict and attr.has(typing.get_args(hint)[1]):
        return {key: built(typing.get_args(hint)[1], value) for key, value in item.items()}
    return item


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
    assert again == event, f"it comes out otherwise:\n{json.dumps(again)}\n{json.dumps(event)}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    for event in events:
        check(event)
    print(f"{len(events)} events are what openlineage-python takes")


if __name__ == "__main__":
    main()
