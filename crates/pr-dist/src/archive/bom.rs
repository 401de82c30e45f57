//! The bill of materials, as CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>): which crates, in which version and
//! with which checksum, are in the programs. Scanners look known vulnerabilities up with it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::crates::{Crate, Crates};
use super::{PROGRAMS, moment};

/// The whole document.
pub fn document(crates: &Crates) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let product = format!("pkg:generic/qemu-pr-helper-rs@{version}");
    let programs = crates.values().filter(|it| it.is_ours() && PROGRAMS.contains(&it.name.as_str()));
    let mut dependencies = vec![json!({
        "ref": product,
        "dependsOn": programs.map(Crate::address).collect::<Vec<_>>(),
    })];
    let mut components = Vec::new();
    for it in crates.values() {
        let uses = it.uses.iter().map(|id| Some(crates.get(id)?.address())).collect::<Option<Vec<_>>>();
        dependencies
            .push(json!({ "ref": it.address(), "dependsOn": uses.context("a crate that uses an unknown one")? }));
        components.push(component(it));
    }
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment()?,
            "component": {
                "type": "application",
                "bom-ref": product,
                "name": "qemu-pr-helper-rs",
                "version": version,
                "purl": product,
                "licenses": [{ "expression": "Apache-2.0 OR MIT" }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{document:#}\n"))
}

fn component(it: &Crate) -> Value {
    let mut component = json!({
        "type": if PROGRAMS.contains(&it.name.as_str()) { "application" } else { "library" },
        "bom-ref": it.address(),
        "name": it.name,
        "version": it.version,
        "scope": if it.is_linked { "required" } else { "excluded" },
        "licenses": [{ "expression": it.license }],
        "purl": it.address(),
    });
    if let Some(checksum) = &it.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &it.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}
