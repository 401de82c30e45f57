"""Holds the manifests and the bill of materials against schemas, and prints the manifests as JSON: file name to documents.

Arguments: the bill of materials, the schemas written here, the packages kubernetes-validate and cyclonedx-python-lib, which
bring the schemas of Kubernetes and CycloneDX, and the manifests' folder.
"""

import json
import pathlib
import sys
import zipfile

import jsonschema
import yaml

bill, written, kubernetes, cyclonedx, manifests = map(pathlib.Path, sys.argv[1:])
# The oldest that its users may still have, and the newest that the package knows.
VERSIONS = ["v1.30.0", "v1.37.0"]
wrong = []


def hold(name, document, schema, store):
    """One document against one schema; what is wrong with it is kept."""
    resolver = jsonschema.RefResolver(schema.get("$id", ""), schema, store=store)
    kind = jsonschema.validators.validator_for(schema)
    for error in kind(schema, resolver=resolver).iter_errors(document):
        place = "/".join(map(str, error.absolute_path))
        wrong.append(f"{name}: {place}: {error.message[:300]}")


def of_kubernetes(package, version, document):
    """The schema of a kind that Kubernetes brings itself, and what that one refers to."""
    folder = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/"
    group, _, name = document["apiVersion"].rpartition("/")
    kind = "-".join(filter(None, [document["kind"].lower(), group.split(".")[0], name]))
    definitions = json.loads(package.read(folder + "_definitions.json"))
    schema = json.loads(package.read(f"{folder}{kind}.json"))
    return schema, {"https://kubernetes.io/api/_definitions.json": definitions}


own = json.loads(written.read_text())
read = {}
with zipfile.ZipFile(kubernetes) as package:
    for path in sorted(manifests.rglob("*.yaml")):
        name = str(path.relative_to(manifests))
        read[name] = list(yaml.safe_load_all(path.read_text()))
        for document in read[name]:
            if document["kind"] in own["$defs"]:
                hold(name, document, {"$ref": f"#/$defs/{document['kind']}", **own}, {})
                continue
            for version in VERSIONS:
                hold(f"{name} in {version}", document, *of_kubernetes(package, version, document))

with zipfile.ZipFile(cyclonedx) as package:
    folder = "cyclonedx/schema/_res/"
    names = [name for name in package.namelist() if name.startswith(folder) and name.endswith(".schema.json")]
    store = {}
    for name in names:
        schema = json.loads(package.read(name))
        store["http://cyclonedx.org/schema/" + name[len(folder) :]] = schema
        store[schema.get("$id", name)] = schema
    document = json.loads(bill.read_text())
    hold("the bill of materials", document, store["http://cyclonedx.org/schema/bom-1.6.SNAPSHOT.schema.json"], store)

print("\n".join(wrong), end="", file=sys.stderr)
print(json.dumps(read))
sys.exit(bool(wrong))
