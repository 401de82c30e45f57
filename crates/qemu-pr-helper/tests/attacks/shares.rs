//! What clients and askers do to what they share: the audit log, the control socket, threads and connections.
