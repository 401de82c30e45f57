complete -c qemu-pr-helper -s k -l socket -d 'Listen on this Unix socket, an absolute path [default: /var/run/qemu-pr-helper.sock]' -r -F
complete -c qemu-pr-helper -s f -l pidfile -d 'Write the PID to this file; with -d the default is /var/run/qemu-pr-helper.pid' -r -F
complete -c qemu-pr-helper -s T -l trace -d 'Trace events: [enable=]PATTERN[,events=FILE][,file=FILE], or "help" for a list' -r
complete -c qemu-pr-helper -l trace-backend -d 'Where traces go: log (standard error or the FILE of -T) or ftrace (the kernel\'s trace buffer, and FILE if given)' -r -f -a "log\t'The file of `-T`, otherwise the log'
ftrace\t'The kernel\'s trace buffer, and the file if there is one'"
complete -c qemu-pr-helper -s u -l user -d 'Change to this user (name or number) after start' -r
complete -c qemu-pr-helper -s g -l group -d 'Change to this group (name or number) after start' -r
complete -c qemu-pr-helper -l log-format -d 'How to write messages: text, prefix (text with journald\'s <N>), journal (its own protocol), json (an object a line) or auto (journal where standard error is the journal, else text)' -r -f -a "auto\t'The journal\'s own protocol where standard error is the journal, otherwise text'
text\t'Lines that begin with the program\'s name'
prefix\t'The same with journald\'s `<N>` in front (sd-daemon(3))'
journal\t'The journal\'s own protocol'
json\t'One JSON object a line'"
complete -c qemu-pr-helper -l socket-mode -d 'The socket\'s permissions, octal; by default the umask decides' -r
complete -c qemu-pr-helper -l socket-group -d 'The socket\'s group (name or number)' -r
complete -c qemu-pr-helper -l max-connections -d 'Serve this many clients at a time; more are rejected' -r
complete -c qemu-pr-helper -l request-timeout -d 'Close the connection of a client that leaves a request half sent or an answer unread for this long' -r
complete -c qemu-pr-helper -l command-timeout -d 'How long a command may take, PREEMPT AND ABORT twice as long' -r
complete -c qemu-pr-helper -l drain-timeout -d 'On shutdown, how long to wait for commands that are in progress' -r
complete -c qemu-pr-helper -l audit -d 'Record who changed what on which disk: each PERSISTENT RESERVE OUT and each refusal' -r -f -a "on\t'Write audit records'
off\t'Do not'"
complete -c qemu-pr-helper -l audit-keys -d 'How reservation keys appear in the audit log. The hash is salted at startup, so it changes with every restart' -r -f -a "show\t'Print the key'
hash\t'Print a salted hash, which is the same for the same key until the program ends'
hide\t'Omit the key'"
complete -c qemu-pr-helper -l control -d 'Serve qemu-pr-ctl at this Unix socket (state, counters, audit log, reload); %s in the last part of the path stands for -k\'s path, with hyphens for slashes' -r -F
complete -c qemu-pr-helper -l control-group -d 'Allow members of this group (name or number) to query the control socket; by default root only' -r
complete -c qemu-pr-helper -l config -d 'Read rules, and defaults of these options, from this file (see qemu-pr-helper.toml(5)) [default: /etc/qemu-pr-helper.toml if it exists]' -r -F
complete -c qemu-pr-helper -l sandbox -d 'Restrict the program to the system calls and files that it needs: off, log (only report to the kernel\'s log), seccomp (system calls alone, for a container that forbids Landlock) or enforce' -r -f -a "off\t'No sandbox'
log\t'Allow, but report what would be denied to the kernel\'s log'
seccomp\t'Deny all other system calls. Landlock is not used, and the kernel is not asked whether it has it'
enforce\t'Deny all other system calls and files'"
complete -c qemu-pr-helper -l broker -d 'Send dm-multipath commands to the broker that listens at this Unix socket (qemu-pr-broker.socket) instead of forking one' -r -F
complete -c qemu-pr-helper -s d -l daemon -d 'Go to the background once everything is in place'
complete -c qemu-pr-helper -s v -l verbose -d 'Log more: what each connection does'
complete -c qemu-pr-helper -s q -l quiet -d 'Do not log clients that break the protocol'
complete -c qemu-pr-helper -l check-config -d 'Check the configuration file and exit; 0 means valid'
complete -c qemu-pr-helper -l serve-broker -d 'Run as the multipath broker on a connection passed by systemd (qemu-pr-broker@.service); of the other options only --sandbox is honoured'
complete -c qemu-pr-helper -l simulate -d 'Simulate a disk behind every descriptor that is not a SCSI device (for tests and demonstrations)'
complete -c qemu-pr-helper -l check -d 'Report what this host has of what multipath needs, and exit; 0 means everything'
complete -c qemu-pr-helper -s h -l help -d 'Show this help'
complete -c qemu-pr-helper -s V -l version -d 'Show the version'
