# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_qemu_pr_ctl_global_optspecs
    string join \n k/socket= timeout= json h/help V/version
end

function __fish_qemu_pr_ctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_qemu_pr_ctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_qemu_pr_ctl_using_subcommand
    set -l cmd (__fish_qemu_pr_ctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s V -l version -d 'Print version'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "ping" -d 'Is there a helper, how fast does it answer, and what does it do?'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "all" -d 'Who is registered, who holds what, and who may do what now'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "keys" -d 'Which keys are registered (READ KEYS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reservation" -d 'Who holds which reservation (READ RESERVATION)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "capabilities" -d 'What the disk supports (REPORT CAPABILITIES)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "status" -d 'Each registration, its initiator, and the holder (READ FULL STATUS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "compare" -d 'Ask with and without the helper, and show both answers'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "watch" -d 'Say what changes on a disk as it changes, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "bench" -d 'Requests per second and latency, at several numbers of connections'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "state" -d 'What the helper is doing, and for whom (see --control)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "log" -d 'Follow the helper\'s audit trail, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "trace" -d 'Change what the helper traces, or list it'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reload" -d 'Give the helper new settings: who may do what (qemu-pr-helper.toml(5))'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "exporter" -d 'Serve the helper\'s figures to Prometheus and its like'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "register" -d 'Register this host, or change its key (REGISTER)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "register-ignore" -d 'Register this host whatever its key is now (REGISTER AND IGNORE ...)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "unregister" -d 'Remove the registration of this host (REGISTER with no new key)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reserve" -d 'Reserve the disk (RESERVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "release" -d 'Give up the reservation (RELEASE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "clear" -d 'Remove all registrations and the reservation (CLEAR)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "preempt" -d 'Remove another\'s registrations and take its reservation over (PREEMPT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "preempt-abort" -d 'The same, and abort its commands (PREEMPT AND ABORT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "move" -d 'Register another initiator and move the reservation to it'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "replace-lost" -d 'Start anew after the disk lost its reservations'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "simulate" -d 'Simulate disks at --socket, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "validate" -d 'Try what cluster software does to a disk, and clean up again'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s n -l requests -d 'How many requests to time' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l interval -d 'How long to wait between two looks' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s c -l connections -d 'The numbers of connections to measure at' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l seconds -d 'How long each measurement takes' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l watch -d 'Show it again and again, until interrupted' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "enable" -d 'Trace these events from now on'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "disable" -d 'No longer trace these events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "list" -d 'List the events that are traced now'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "enable" -d 'Trace these events from now on'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "disable" -d 'No longer trace these events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the events that are traced now'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l config -d 'The settings file [default: the one that the helper has]' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l control -d 'The control socket of the helper, or a folder with no other in it' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -l listen -d 'Where to listen' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -l user -d 'The user to serve as, if this is started as root [default: nobody]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -l control -d 'The control socket of a helper; may be repeated' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand exporter" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l key -d 'The key that this host is registered with; 0 if it is not' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l new-key -d 'The key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l spec-i-pt -d 'Register this initiator port too (SPEC_I_PT); may be repeated' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l aptpl -d 'Let registrations and reservation persist through power loss'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l all-target-ports -d 'On every target port of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l new-key -d 'The key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l aptpl -d 'Let registrations and reservation persist through power loss'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l all-target-ports -d 'On every target port of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l aptpl -d 'Let registrations and reservation persist through power loss'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l all-target-ports -d 'On every target port of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l type -d 'The type of the reservation, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l type -d 'The type of the reservation, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l yes -d 'Do not ask, even if others are registered'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l victim -d 'The key to remove; 0 is everyone else\'s if all hold the reservation' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l type -d 'The type of the reservation, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l yes -d 'Do not ask, even if others are registered'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l victim -d 'The key to remove; 0 is everyone else\'s if all hold the reservation' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l type -d 'The type of the reservation, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l yes -d 'Do not ask, even if others are registered'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l key -d 'The key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l new-key -d 'The key to register for the other initiator' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l to -d 'The other initiator, as \'status\' names it' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l target-port -d 'The target port that it reaches the disk by' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l unregister -d 'Remove the registration of this host'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l aptpl -d 'Let registrations and reservation persist through power loss'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l new-key -d 'The key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l type -d 'The type of the reservation, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l aptpl -d 'Let registrations and reservation persist through power loss'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l yes -d 'Do not ask, even if others are registered'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l misbehave -d 'Get one thing wrong (--help lists the ways)' -r -f -a "repeated-reserve\t'RESERVE of what is held already is a conflict'
shared-reserve\t'RESERVE of what another holds is GOOD'
clear\t'CLEAR is GOOD and does nothing'
preempt\t'PREEMPT is GOOD and does nothing'
preempt-loses\t'PREEMPT ends the reservation instead of moving it'
no-abort\t'PREEMPT AND ABORT is an invalid field'
release\t'RELEASE by any registrant ends the reservation'
unregister\t'Unregistering anyone ends the reservation'
wrong-key\t'REGISTER takes any key'
keys\t'READ KEYS tells the first key only'
type\t'READ RESERVATION tells another type'
holder\t'READ RESERVATION tells another key'
generation\t'PRGENERATION stands still'
attention\t'Unit attentions are not told'
busy\t'Every change is answered BUSY'
data-after-out\t'The helper sends data in answer to a change'
too-much-data\t'The helper sends more data than it was asked for'"
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l second -d 'The same disk by the path of another initiator' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l only -d 'Play this sequence alone (see --help); may be repeated' -r -f -a "basics\t''
windows-failover-clustering\t''
fence_scsi\t''
fence_mpath\t''
ocf-sg_persist\t''
qemu-11-migrate-pr\t''
qemu-11-migrate-key\t''
lvm-persist\t''"
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -s k -l socket -d 'The socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l timeout -d 'How long to wait for the helper [default: 90; at its control socket 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l direct -d 'Send it with SG_IO from here, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l force -d 'Even if somebody is registered: remove all registrations first'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l strict -d 'Take remarks for failures'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l json -d 'Print JSON, for programs'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "ping" -d 'Is there a helper, how fast does it answer, and what does it do?'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "all" -d 'Who is registered, who holds what, and who may do what now'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "keys" -d 'Which keys are registered (READ KEYS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reservation" -d 'Who holds which reservation (READ RESERVATION)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "capabilities" -d 'What the disk supports (REPORT CAPABILITIES)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "status" -d 'Each registration, its initiator, and the holder (READ FULL STATUS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "compare" -d 'Ask with and without the helper, and show both answers'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "watch" -d 'Say what changes on a disk as it changes, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "bench" -d 'Requests per second and latency, at several numbers of connections'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "state" -d 'What the helper is doing, and for whom (see --control)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "log" -d 'Follow the helper\'s audit trail, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "trace" -d 'Change what the helper traces, or list it'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reload" -d 'Give the helper new settings: who may do what (qemu-pr-helper.toml(5))'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "exporter" -d 'Serve the helper\'s figures to Prometheus and its like'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "register" -d 'Register this host, or change its key (REGISTER)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "register-ignore" -d 'Register this host whatever its key is now (REGISTER AND IGNORE ...)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "unregister" -d 'Remove the registration of this host (REGISTER with no new key)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reserve" -d 'Reserve the disk (RESERVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "release" -d 'Give up the reservation (RELEASE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "clear" -d 'Remove all registrations and the reservation (CLEAR)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "preempt" -d 'Remove another\'s registrations and take its reservation over (PREEMPT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "preempt-abort" -d 'The same, and abort its commands (PREEMPT AND ABORT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "move" -d 'Register another initiator and move the reservation to it'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "replace-lost" -d 'Start anew after the disk lost its reservations'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "simulate" -d 'Simulate disks at --socket, until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "validate" -d 'Try what cluster software does to a disk, and clean up again'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping all keys reservation capabilities status compare watch bench state log trace reload exporter register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "enable" -d 'Trace these events from now on'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "disable" -d 'No longer trace these events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "list" -d 'List the events that are traced now'
