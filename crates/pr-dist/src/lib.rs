//! Makes what users get, and looks at it.
//!
//! * [`archive`] makes the packages for Debian and RPM, the tarball, the bill of materials and the notices.
//! * [`image`] makes the container image for KubeVirt's nodes.
//! * [`manual`] makes pages for a browser.
//! * [`schemas`] holds the Kubernetes manifests and the bill of materials against others' schemas.
#![forbid(unsafe_code)]

pub mod archive;
pub mod image;
pub mod manual;
pub mod schemas;
