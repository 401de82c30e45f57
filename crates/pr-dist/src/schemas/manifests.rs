//! What no schema says: that the manifests fit each other, and the container that they stand in for.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Manifests;

/// Where KubeVirt's virt-handler waits for the helper's socket, and where virtual machines get it from.
const SOCKET: &str = "/var/run/kubevirt/daemons/pr/pr-helper.sock";

/// What KubeVirt's container has from its node.
const MOUNTS: [&str; 3] = ["/var/run/kubevirt/daemons/pr", "/dev", "/etc/multipath"];

/// The script that has something else start at the right moment.
const WAIT: &str = "/wait-for-helper.sh";

/// Checks what is applied of an overlay.
pub fn check(documents: &[Value]) -> Result<()> {
    let of = |kind| of_kind(documents, kind);
    let (set, service) = (of("DaemonSet")?, of("Service")?);
    let pod = &set["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    ensure!(set["spec"]["selector"]["matchLabels"] == *labels, "the DaemonSet does not select its own pods");
    ensure!(service["spec"]["selector"] == *labels, "the Service does not select the DaemonSet's pods");
    let monitor = &of("ServiceMonitor")?["spec"];
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
    let policy = &of("NetworkPolicy")?["spec"];
    ensure!(policy["podSelector"]["matchLabels"] == *labels, "the NetworkPolicy is about other pods");
    ensure!(list(&policy["ingress"][0]["ports"])?[0]["port"] == ports[0]["name"], "it is about another port");
    let group = exporter["securityContext"]["runAsGroup"].to_string();
    ensure!(arguments.contains(&json!(group)), "the exporter is not in the group that may ask");

    let account = &of("ServiceAccount")?["metadata"];
    ensure!(pod["spec"]["serviceAccountName"] == account["name"], "the pods have another account");
    ensure!(
        list(&pod["spec"]["tolerations"])?.contains(&json!({ "operator": "Exists" })),
        "a taint keeps the pods away"
    );
    // Nothing else makes the socket QEMU's on releases before 1.9.
    let mode = arguments.windows(2).any(|words| words == [json!("--socket-mode"), json!("0660")]);
    ensure!(mode, "the socket's group may not use it");
    let first = list(&pod["spec"]["initContainers"])?;
    ensure!(first[0]["command"] == json!([WAIT, "--gone", SOCKET]), "the helper does not wait for another one's end");
    let image = format!("registry.example/qemu-pr-helper:{}", env!("CARGO_PKG_VERSION"));
    let all = containers.iter().chain(first);
    ensure!(all.clone().all(|container| container["image"] == image), "a container has another image than {image}");
    let name_space = &account["namespace"];
    for document in documents.iter().filter(|document| !is_of_cluster(document)) {
        let own = &document["metadata"]["namespace"];
        ensure!(own == name_space, "{} is in the name space {own}, not {name_space}", document["kind"]);
    }
    Ok(())
}

/// The patch of virt-handler that an overlay has KubeVirt told.
pub fn patch_of_virt_handler(files: &Manifests, overlay: &str) -> Result<String> {
    let told = |name: &str| files.get(&format!("overlays/{overlay}/{name}")).map(|documents| &documents[0]);
    let patches = if let Some(kubevirt) = told("kubevirt.yaml") {
        let how = &kubevirt["spec"]["configuration"];
        let is_on = how["persistentReservationConfiguration"]["enabled"] == true
            || how["developerConfiguration"]["featureGates"] == json!(["PersistentReservation"]);
        ensure!(is_on, "reservations are not switched on");
        kubevirt["spec"]["customizeComponents"]["patches"].clone()
    } else {
        let operator = told("hyperconverged.yaml").context("nothing is told to KubeVirt")?;
        ensure!(operator["spec"]["featureGates"]["persistentReservation"] == true, "reservations are not switched on");
        let annotation = operator["metadata"]["annotations"]["kubevirt.kubevirt.io/jsonpatch"].as_str();
        let operations: Value = serde_json::from_str(annotation.context("no annotation")?)?;
        ensure!(operations[0]["op"] == "add", "it is not added");
        ensure!(operations[0]["path"] == "/spec/customizeComponents", "it is added elsewhere");
        operations[0]["value"]["patches"].clone()
    };
    let [patch] = list(&patches)?.as_slice() else { anyhow::bail!("KubeVirt is told of several patches") };
    let of = (&patch["resourceType"], &patch["resourceName"], &patch["type"]);
    ensure!(of == (&json!("DaemonSet"), &json!("virt-handler"), &json!("strategic")), "the patch is one of {of:?}");
    Ok(patch["patch"].as_str().unwrap_or_default().to_owned())
}

/// Checks virt-handler as it is with the patch.
pub fn check_virt_handler(handler: &Value, documents: &[Value]) -> Result<()> {
    let pod = &handler["spec"]["template"]["spec"];
    let names: Vec<_> = list(&pod["containers"])?.iter().map(|container| &container["name"]).collect();
    ensure!(names == ["virt-handler"], "virt-handler's pod has the containers {names:?}");
    let before = list(&pod["initContainers"])?;
    named(before, "virt-launcher").context("virt-handler has lost what it did before")?;
    let first = named(before, "pr-helper-first")?;
    ensure!(first["command"] == json!([WAIT]), "virt-handler waits for something else");
    ensure!(list(&first["args"])?[0] == SOCKET, "it waits for another socket");
    let ours = &of_kind(documents, "DaemonSet")?["spec"]["template"]["spec"]["containers"];
    ensure!(first["image"] == ours[0]["image"], "the image is another one: {}", first["image"]);
    let mount = &list(&first["volumeMounts"])?[0];
    let volume = named(list(&pod["volumes"])?, mount["name"].as_str().unwrap_or_default())?;
    ensure!(mount["mountPath"] == MOUNTS[0] && volume["hostPath"]["path"] == MOUNTS[0], "the socket is not there");
    // The feature may be off while the patch is still there.
    ensure!(mount["name"] == first["name"], "it depends on a volume that is virt-operator's");
    Ok(())
}

/// Checks virt-handler as it is with the helper in its own pod.
pub fn check_without_daemon_set(handler: &Value) -> Result<()> {
    let pod = &handler["spec"]["template"]["spec"];
    let names: Vec<_> = list(&pod["containers"])?.iter().map(|container| &container["name"]).collect();
    ensure!(names == ["virt-handler"], "virt-handler's pod has the containers {names:?}");
    let helper = named(list(&pod["initContainers"])?, "pr-helper")?;
    ensure!(helper["restartPolicy"] == "Always", "the helper would have to end before virt-handler starts");
    let probe = list(&helper["startupProbe"]["exec"]["command"])?.last();
    ensure!(probe == Some(&json!(SOCKET)), "virt-handler starts before the helper answers");
    ensure!(list(&helper["args"])?.starts_with(&[json!("-k"), json!(SOCKET)]), "the helper has another socket");
    let volumes = list(&pod["volumes"])?;
    for path in MOUNTS {
        let mount = list(&helper["volumeMounts"])?.iter().find(|mount| mount["mountPath"] == path);
        let mount = mount.with_context(|| format!("the helper lacks {path}"))?;
        let volume = named(volumes, mount["name"].as_str().unwrap_or_default())?;
        ensure!(volume["hostPath"]["path"] == path, "{path} is another folder of the node");
    }
    Ok(())
}

/// Checks that the constraints of `OpenShift` allow what the pods ask for, and nothing else; and that the pods may use them.
pub fn check_openshift(documents: &[Value]) -> Result<()> {
    let of = |kind| of_kind(documents, kind);
    let (constraints, template) = (of("SecurityContextConstraints")?, &of("DaemonSet")?["spec"]["template"]);
    let name = &constraints["metadata"]["name"];
    ensure!(template["metadata"]["annotations"]["openshift.io/required-scc"] == *name, "the pods want other ones");
    let pod = &template["spec"];
    for (allowed, asked) in
        [("allowHostPID", "hostPID"), ("allowHostNetwork", "hostNetwork"), ("allowHostIPC", "hostIPC")]
    {
        ensure!(constraints[allowed].as_bool() == Some(pod[asked] == true), "{allowed} does not fit {asked}");
    }
    let containers = [list(&pod["containers"])?.as_slice(), list(&pod["initContainers"])?].concat();
    let privileged = containers.iter().any(|container| container["securityContext"]["privileged"] == true);
    ensure!(
        constraints["allowPrivilegedContainer"].as_bool() == Some(privileged),
        "privileged containers are not as asked"
    );
    let volumes = list(&pod["volumes"])?;
    let mut kinds: Vec<_> = volumes.iter().flat_map(|volume| volume.as_object().into_iter().flatten()).collect();
    kinds.retain(|(key, _)| *key != "name");
    let allowed = list(&constraints["volumes"])?;
    ensure!(kinds.iter().all(|(kind, _)| allowed.contains(&json!(kind))), "a volume is not allowed");
    ensure!(
        allowed.iter().all(|allowed| kinds.iter().any(|(kind, _)| *allowed == json!(kind))),
        "nothing asks for a volume"
    );
    let role = of("ClusterRole")?;
    let may = &list(&role["rules"])?[0];
    ensure!(
        may["resourceNames"] == json!([name]) && may["verbs"] == json!(["use"]),
        "the role is about something else"
    );
    let account = &of("ServiceAccount")?["metadata"];
    let mut bindings = documents.iter().filter(|document| document["kind"] == "RoleBinding");
    let binding = bindings.find(|binding| binding["roleRef"]["name"] == role["metadata"]["name"]);
    let subject = &list(&binding.context("nobody has the role")?["subjects"])?[0];
    ensure!(
        subject["name"] == account["name"] && subject["namespace"] == account["namespace"],
        "somebody else has the role: {subject}"
    );
    Ok(())
}

/// The only document of a kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let only = found.next().with_context(|| format!("there is no {kind}"))?;
    ensure!(found.next().is_none(), "there are several of {kind}");
    Ok(only)
}

/// Whether a document is in no name space.
fn is_of_cluster(document: &Value) -> bool {
    document["kind"] == "ClusterRole" || document["kind"] == "SecurityContextConstraints"
}

/// A list that has something in it.
fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().filter(|list| !list.is_empty()).context("a list is missing in the manifests")
}

/// The one with this name.
pub fn named<'a>(list: &'a [Value], name: &str) -> Result<&'a Value> {
    list.iter().find(|it| it["name"] == name).with_context(|| format!("nothing is named {name}"))
}
