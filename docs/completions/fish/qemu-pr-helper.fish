complete -c qemu-pr-helper -s k -l socket -d 'Listen on this Unix socket (absolute path) [default: /var/run/qemu-pr-helper.sock]' -r -F
complete -c qemu-pr-helper -s f -l pidfile -d 'Write the process ID to this file [default: none; with -d /var/run/qemu-pr-helper.pid]' -r -F
complete -c qemu-pr-helper -s T -l trace -d 'Enable trace events: [enable=]PATTERN[,events=FILE][,file=FILE]; "help" lists them' -r
complete -c qemu-pr-helper -l trace-backend -d 'Write trace events to log (standard error, or the FILE of -T) or ftrace (the kernel\'s trace buffer, and FILE if given)' -r -f -a "log\t'The file of `-T`, otherwise the log'
ftrace\t'The kernel\'s trace buffer, and the file if there is one'"
complete -c qemu-pr-helper -s u -l user -d 'Change to this user (name or number) when initialized' -r
complete -c qemu-pr-helper -s g -l group -d 'Change to this group (name or number) when initialized' -r
complete -c qemu-pr-helper -l log-format -d 'Log format: text, prefix (text after a priority <N>, see sd-daemon(3)), journal (systemd\'s journal, with fields), json (one object per line) or auto (journal if standard error is connected to it, otherwise text)' -r -f -a "auto\t'The journal\'s own protocol where standard error is the journal, otherwise text'
text\t'Lines that begin with the program\'s name'
prefix\t'The same with journald\'s `<N>` in front (sd-daemon(3))'
journal\t'The journal\'s own protocol'
json\t'One JSON object a line'"
complete -c qemu-pr-helper -l socket-mode -d 'Permissions of the socket (octal) [default: 0777 less the umask]' -r
complete -c qemu-pr-helper -l socket-group -d 'Group of the socket (name or number)' -r
complete -c qemu-pr-helper -l max-connections -d 'Maximum number of connected clients; more are rejected' -r
complete -c qemu-pr-helper -l request-timeout -d 'Close a connection if the client takes longer to complete a request or to read a reply' -r
complete -c qemu-pr-helper -l command-timeout -d 'Timeout of a command; PREEMPT AND ABORT has twice as long' -r
complete -c qemu-pr-helper -l drain-timeout -d 'Time to wait for commands in progress before exiting' -r
complete -c qemu-pr-helper -l audit -d 'Write an audit record for each PERSISTENT RESERVE OUT and each refused request' -r -f -a "on\t'Write audit records'
off\t'Do not'"
complete -c qemu-pr-helper -l audit-keys -d 'How reservation keys appear in the audit log' -r -f -a "show\t'Print the key'
hash\t'Print a salted hash, which is the same for the same key until the program ends'
hide\t'Omit the key'"
complete -c qemu-pr-helper -l control -d 'Listen for qemu-pr-ctl and qemu-pr-exporter on this Unix socket; %s in its file name stands for the path of -k, with hyphens for slashes' -r -F
complete -c qemu-pr-helper -l control-group -d 'Allow members of this group (name or number) to read from the control socket [default: root only]' -r
complete -c qemu-pr-helper -l config -d 'Settings file with rules, limits and defaults of these options, see qemu-pr-helper.toml(5) [default: /etc/qemu-pr-helper.toml if it exists]' -r -F
complete -c qemu-pr-helper -l sandbox -d 'Restrict system calls (seccomp) and file access (Landlock) to what the program needs' -r -f -a "off\t'No sandbox'
log\t'Deny nothing; the kernel\'s log has what \'enforce\' would deny'
seccomp\t'Restrict system calls only, without using Landlock (for containers that forbid it)'
enforce\t'Restrict system calls and file access'"
complete -c qemu-pr-helper -l broker -d 'Connect to the multipath broker at this Unix socket (qemu-pr-broker.socket) instead of forking one' -r -F
complete -c qemu-pr-helper -s d -l daemon -d 'Run in the background; the command returns when the helper is ready'
complete -c qemu-pr-helper -s v -l verbose -d 'Also log connections that open and close, and reloads'
complete -c qemu-pr-helper -s q -l quiet -d 'Do not log protocol violations of clients; overrides -v'
complete -c qemu-pr-helper -l check-config -d 'Check the settings file and exit; the exit status is 0 if it is valid'
complete -c qemu-pr-helper -l serve-broker -d 'Run as the multipath broker on a connection passed by systemd (qemu-pr-broker@.service); of the other options only --sandbox applies'
complete -c qemu-pr-helper -l simulate -d 'Simulate a disk for each descriptor that is not a SCSI device (for tests)'
complete -c qemu-pr-helper -l check -d 'Check that this host has what dm-multipath needs and exit; the exit status is 0 if nothing is missing'
complete -c qemu-pr-helper -s h -l help -d 'Print help'
complete -c qemu-pr-helper -s V -l version -d 'Print version'
