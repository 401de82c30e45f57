//! The DaemonSet's pod as `podman kube play` takes it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::schemas;

/// The pod, as JSON.
pub struct Pod(Value);

impl Pod {
    /// The pod template of the DaemonSet, with what only a cluster could add:
    ///
    /// * It is a Pod, and has a name.
    /// * Images are where they were loaded to; there is no registry.
    /// * What the kubelet would fill in (`status.hostIP`) is the node's address.
    ///
    /// And without what podman has another idea of, although it means nothing here: ports, which it does not take for a
    /// container in the node's network, and the volume's medium, for which it would give each container a volume of its own.
    ///
    /// # Errors
    /// The manifests do not hold.
    pub fn new(address: &str) -> Result<Self> {
        let template = schemas::daemon_set()?["spec"]["template"].clone();
        let mut pod =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
        pod["metadata"]["name"] = json!("qemu-pr-helper");
        let spec = &mut pod["spec"];
        ensure!(spec["hostPID"] == true && spec["hostNetwork"] == true, "the pod has name spaces of its own");
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().context("a pod without containers")? {
                let container = container.as_object_mut().context("a container that is none")?;
                for_podman(container, address)?;
            }
        }
        for volume in spec["volumes"].as_array_mut().context("a pod without volumes")? {
            if let Some(directory) = volume["emptyDir"].as_object_mut() {
                directory.remove("medium");
            }
        }
        Ok(Self(pod))
    }

    /// What `podman kube play` reads.
    #[must_use]
    pub fn manifest(&self) -> String {
        self.0.to_string()
    }

    /// The image that its containers have.
    ///
    /// # Errors
    /// There is none.
    pub fn image(&self) -> Result<&str> {
        self.0["spec"]["containers"][0]["image"].as_str().context("a container without an image")
    }
}

fn for_podman(container: &mut Map<String, Value>, address: &str) -> Result<()> {
    container.insert("imagePullPolicy".to_owned(), json!("Never"));
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        let source = variable.as_object_mut().and_then(|variable| variable.remove("valueFrom"));
        if let Some(source) = source {
            ensure!(source == json!({ "fieldRef": { "fieldPath": "status.hostIP" } }), "nobody fills in {source}");
            variable["value"] = json!(address);
        }
    }
    let ports = container.remove("ports").unwrap_or_default();
    if let Some(port) = container.get_mut("livenessProbe").and_then(|probe| probe.pointer_mut("/httpGet/port")) {
        let named = schemas::named(ports.as_array().context("no ports")?, port.as_str().unwrap_or_default())?;
        *port = named["containerPort"].clone();
    }
    Ok(())
}
