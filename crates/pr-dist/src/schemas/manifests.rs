//! What no schema says: that the manifests fit each other, and the container that they stand in for.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Where KubeVirt's virt-handler waits for the helper's socket, and where virtual machines get it from.
const SOCKET: &str = "/var/run/kubevirt/daemons/pr/pr-helper.sock";

/// What KubeVirt's container has from its node.
const MOUNTS: [&str; 3] = ["/var/run/kubevirt/daemons/pr", "/dev", "/etc/multipath"];

/// Checks all of it.
pub fn check(files: &Value) -> Result<()> {
    let (set, service) = (&files["daemonset.yaml"], &files["service.yaml"]);
    let pod = &set["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    ensure!(set["spec"]["selector"]["matchLabels"] == *labels, "the DaemonSet does not select its own pods");
    ensure!(service["spec"]["selector"] == *labels, "the Service does not select the DaemonSet's pods");
    let monitor = &files["servicemonitor.yaml"]["spec"];
    let of_service = &service["metadata"]["labels"];
    ensure!(monitor["selector"]["matchLabels"] == *of_service, "the ServiceMonitor does not select the Service");

    let containers = list(&pod["spec"]["containers"])?;
    let helper = named(containers, "pr-helper")?;
    let exporter = named(containers, "exporter")?;
    ensure!(helper["command"] == json!(["/entrypoint.sh"]), "the helper is started by something else");
    let arguments = list(&helper["args"])?;
    ensure!(arguments.starts_with(&[json!("-k"), json!(SOCKET)]), "the socket is not where KubeVirt looks for it");
    let control = list(&helper["readinessProbe"]["exec"]["command"])?.last();
    // The helper names its socket itself, in the folder where the others look for the only one.
    let folder = control.and_then(|folder| folder.as_str()).context("the probe asks nowhere")?;
    ensure!(arguments.contains(&json!(format!("{folder}/%s"))), "the probe asks at another control socket");
    ensure!(list(&exporter["args"])?.iter().any(|word| Some(word) == control), "the exporter asks at another one");
    let alive = list(&helper["livenessProbe"]["exec"]["command"])?.last();
    ensure!(alive == Some(&json!(SOCKET)), "the helper is alive at another socket");
    for container in containers {
        ensure!(container["resources"]["limits"]["memory"].is_string(), "{} may take all memory", container["name"]);
        ensure!(container["livenessProbe"].is_object(), "nobody notices when {} is stuck", container["name"]);
    }
    let volumes = list(&pod["spec"]["volumes"])?;
    for container in containers {
        for mount in list(&container["volumeMounts"])? {
            named(volumes, mount["name"].as_str().context("a mount without a name")?)?;
        }
    }
    for path in MOUNTS {
        let mount = list(&helper["volumeMounts"])?.iter().find(|mount| mount["mountPath"] == path);
        let mount = mount.with_context(|| format!("the helper lacks {path}"))?;
        let volume = named(volumes, mount["name"].as_str().unwrap_or_default())?;
        ensure!(volume["hostPath"]["path"] == path, "{path} is another folder of the node");
    }

    let ports = list(&exporter["ports"])?;
    let listed = list(&service["spec"]["ports"])?;
    let scraped = list(&monitor["endpoints"])?;
    ensure!(listed[0]["targetPort"] == ports[0]["name"], "the Service leads to another port");
    ensure!(listed[0]["port"] == ports[0]["containerPort"], "the Service has another number for the port");
    ensure!(scraped[0]["port"] == listed[0]["name"], "the ServiceMonitor asks at another port");
    let policy = &files["networkpolicy.yaml"]["spec"];
    ensure!(policy["podSelector"]["matchLabels"] == *labels, "the NetworkPolicy is about other pods");
    ensure!(list(&policy["ingress"][0]["ports"])?[0]["port"] == ports[0]["name"], "it is about another port");
    let group = exporter["securityContext"]["runAsGroup"].to_string();
    ensure!(arguments.contains(&json!(group)), "the exporter is not in the group that may ask");

    let kustomization = &files["kustomization.yaml"];
    for file in ["daemonset.yaml", "service.yaml", "servicemonitor.yaml", "networkpolicy.yaml"] {
        ensure!(list(&kustomization["resources"])?.contains(&json!(file)), "{file} is not applied");
    }
    let image = &list(&kustomization["images"])?[0];
    ensure!(containers.iter().all(|container| container["image"] == image["name"]), "a container has another image");
    ensure!(image["newTag"] == env!("CARGO_PKG_VERSION"), "the image is of another version: {}", image["newTag"]);

    let told = list(&files["kubevirt.yaml"]["spec"]["customizeComponents"]["patches"])?;
    let patch: Value = serde_json::from_str(told[0]["patch"].as_str().unwrap_or_default())?;
    let patched = list(&patch["spec"]["template"]["spec"]["containers"])?;
    ensure!(patched[0] == json!({ "name": "pr-helper", "$patch": "delete" }), "virt-handler keeps its own helper");
    Ok(())
}

/// A list that has something in it.
fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().filter(|list| !list.is_empty()).context("a list is missing in the manifests")
}

/// The one with this name.
pub fn named<'a>(list: &'a [Value], name: &str) -> Result<&'a Value> {
    list.iter().find(|it| it["name"] == name).with_context(|| format!("nothing is named {name}"))
}
