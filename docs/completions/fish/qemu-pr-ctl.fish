# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_qemu_pr_ctl_global_optspecs
    string join \n k/socket= timeout= as= json h/help V/version
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

complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -s V -l version -d 'Print version'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "ping" -d 'Check that a helper answers, and measure its latency'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "doctor" -d 'Check this host for faults, and show commands that fix them'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "all" -d 'Show registrations, reservation and current access rights'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "keys" -d 'List the registered keys (READ KEYS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reservation" -d 'Show the reservation and its holder (READ RESERVATION)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "capabilities" -d 'Show what the disk supports (REPORT CAPABILITIES)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "status" -d 'Show each registration with its initiator (READ FULL STATUS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "compare" -d 'Read with and without the helper, and compare the answers'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "watch" -d 'Print each change of registrations and reservation until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "bench" -d 'Measure requests per second and latency by number of connections'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "state" -d 'Show the clients of a helper and what it is doing for them'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "log" -d 'Follow the audit log of a helper until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "trace" -d 'Enable, disable or list the trace events of a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reload" -d 'Make the helper use a changed settings file (qemu-pr-helper.toml(5))'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "register" -d 'Register this host, or change its key (REGISTER)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "register-ignore" -d 'Register this host, whatever its key is (REGISTER AND IGNORE ...)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "unregister" -d 'Remove the registration of this host (REGISTER with no new key)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "reserve" -d 'Reserve the disk (RESERVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "release" -d 'Release the reservation (RELEASE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "clear" -d 'Remove all registrations and the reservation (CLEAR)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "preempt" -d 'Remove registrations by key and take over the reservation (PREEMPT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "preempt-abort" -d 'Preempt, and abort the commands of the victim (PREEMPT AND ABORT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "move" -d 'Move the reservation to another initiator (REGISTER AND MOVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "replace-lost" -d 'Register and reserve after the disk lost its reservations'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "simulate" -d 'Serve simulated disks at --socket until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "validate" -d 'Test a disk with the command sequences of cluster software'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s n -l requests -d 'Number of requests to measure' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand ping" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -l control -d 'Control socket of the helper, or a directory with those of several' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -l root -d 'Root directory of the host, if it is elsewhere, as in a container' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand all" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reservation" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand capabilities" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand compare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l interval -d 'Time between two reads' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s c -l connections -d 'Numbers of connections to measure with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l seconds -d 'Duration of each measurement' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l watch -d 'Repeat every SECONDS until interrupted' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand state" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "enable" -d 'Enable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "disable" -d 'Disable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "list" -d 'List the enabled trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and not __fish_seen_subcommand_from enable disable list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "enable" -d 'Enable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "disable" -d 'Disable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the enabled trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand trace; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l config -d 'Settings file [default: the one that the helper uses]' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l control -d 'Control socket of the helper, or a directory that contains no other' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l key -d 'Key that this host is registered with; 0 if it is not' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l new-key -d 'Key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l spec-i-pt -d 'Also register this initiator port (SPEC_I_PT); may be repeated' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l aptpl -d 'Keep registrations and reservation through power loss (APTPL)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l all-target-ports -d 'Register on all target ports of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l new-key -d 'Key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l aptpl -d 'Keep registrations and reservation through power loss (APTPL)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l all-target-ports -d 'Register on all target ports of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand register-ignore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l aptpl -d 'Keep registrations and reservation through power loss (APTPL)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l all-target-ports -d 'Register on all target ports of the disk, not only that of this path'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand unregister" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l type -d 'Reservation type, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand reserve" -s h -l help -d 'Print help'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l type -d 'Reservation type, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l yes -d 'Do not ask for confirmation'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand clear" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l victim -d 'Key to remove; 0 for all other holders, if all registrants hold it' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l type -d 'Reservation type, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l yes -d 'Do not ask for confirmation'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l victim -d 'Key to remove; 0 for all other holders, if all registrants hold it' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l type -d 'Reservation type, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l yes -d 'Do not ask for confirmation'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand preempt-abort" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l key -d 'Key that this host is registered with' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l new-key -d 'Key to register for the other initiator' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l to -d 'TransportID of the other initiator, as \'status\' prints it' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l target-port -d 'Relative target port that the other initiator uses' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l unregister -d 'Remove the registration of this host'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l aptpl -d 'Keep registrations and reservation through power loss (APTPL)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand move" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l new-key -d 'Key to register' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l type -d 'Reservation type, by name or number: write-exclusive (1), exclusive-access (3), write-exclusive-registrants-only (5), exclusive-access-registrants-only (6), write-exclusive-all-registrants (7), exclusive-access-all-registrants (8)' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l aptpl -d 'Keep registrations and reservation through power loss (APTPL)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l yes -d 'Do not ask for confirmation'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand replace-lost" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l misbehave -d 'Inject a fault (--help lists them)' -r -f -a "repeated-reserve\t'RESERVE by the holder returns RESERVATION CONFLICT'
shared-reserve\t'RESERVE while another initiator holds it returns GOOD'
clear\t'CLEAR returns GOOD and does nothing'
preempt\t'PREEMPT returns GOOD and does nothing'
preempt-loses\t'PREEMPT removes the reservation instead of taking it over'
no-abort\t'PREEMPT AND ABORT returns INVALID FIELD IN CDB'
release\t'RELEASE by any registrant removes the reservation'
unregister\t'Any unregistration removes the reservation'
wrong-key\t'REGISTER accepts any key'
keys\t'READ KEYS returns the first key only'
type\t'READ RESERVATION returns another type'
holder\t'READ RESERVATION returns another key'
generation\t'PRGENERATION does not change'
reads-count\t'PRGENERATION changes with every command'
reserve-type\t'RESERVE by the holder with another type returns GOOD'
reserve-key\t'RESERVE does not check the key'
reserve-unknown\t'RESERVE by an initiator that is not registered returns GOOD'
all-reserve\t'RESERVE of a held all-registrants type conflicts'
all-holder\t'READ RESERVATION returns a key for the all-registrants types'
release-nothing\t'RELEASE by the holder returns GOOD and does nothing'
release-type\t'RELEASE with another type removes the reservation'
clear-keeps\t'CLEAR leaves the reservation'
preempt-keeps\t'PREEMPT takes the reservation and leaves the registration'
self-preempt\t'PREEMPT of the holder\'s own key removes its registration'
preempt-unknown\t'PREEMPT of a key that is not registered returns GOOD'
preempt-type\t'PREEMPT of a key that holds nothing changes the type'
last-unregister\t'The last unregistration leaves the reservation'
holder-leaves\t'The holder\'s unregistration leaves the reservation'
key-change\t'A change of the holder\'s key removes the reservation'
shared-key\t'REGISTER of a key that another initiator has conflicts'
attention\t'Unit attentions are not reported'
busy\t'Every change returns BUSY'
no-enforcement\t'Reads and writes are never refused'
type-8\t'Type 8 is recorded, and its reads and writes are not refused'
no-readers\t'Types that exclude writers exclude readers too'
no-registrants\t'Registrants that do not hold the reservation are excluded'
data-after-out\t'The helper sends data with the reply to a change'
too-much-data\t'The helper sends more data than was requested'"
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l second -d 'The same disk through another initiator' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l only -d 'Run only this sequence (--help lists them); may be repeated' -r -f -a "basics\t''
windows-failover-clustering\t''
windows-arbitration\t''
fence_scsi\t''
fence_scsi-4.16\t''
fence_mpath\t''
ocf-sg_persist\t''
qemu-11-migrate-pr\t''
qemu-11-migrate-key\t''
qemu-11.1-migrate-key\t''
lvm-persist\t''
lvm-persist-2.03.36\t''
rules\t''
enforcement-type-1\t''
enforcement-type-3\t''
enforcement-type-5\t''
enforcement-type-6\t''
enforcement-type-7\t''
enforcement-type-8\t''"
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -s k -l socket -d 'Unix socket of the helper' -r -F
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l timeout -d 'Time to wait for an answer [default: 90; at a control socket: 5]' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l as -d 'Name of the initiator to act as, with a simulated disk' -r
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l direct -d 'Send commands with SG_IO from this process, without a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l force -d 'Remove all existing registrations first'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l write -d 'Also test writes: write the first block with its present contents'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l strict -d 'Treat remarks as failures'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -l json -d 'Print JSON'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "ping" -d 'Check that a helper answers, and measure its latency'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "doctor" -d 'Check this host for faults, and show commands that fix them'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "all" -d 'Show registrations, reservation and current access rights'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "keys" -d 'List the registered keys (READ KEYS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reservation" -d 'Show the reservation and its holder (READ RESERVATION)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "capabilities" -d 'Show what the disk supports (REPORT CAPABILITIES)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "status" -d 'Show each registration with its initiator (READ FULL STATUS)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "compare" -d 'Read with and without the helper, and compare the answers'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "watch" -d 'Print each change of registrations and reservation until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "bench" -d 'Measure requests per second and latency by number of connections'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "state" -d 'Show the clients of a helper and what it is doing for them'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "log" -d 'Follow the audit log of a helper until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "trace" -d 'Enable, disable or list the trace events of a helper'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reload" -d 'Make the helper use a changed settings file (qemu-pr-helper.toml(5))'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "register" -d 'Register this host, or change its key (REGISTER)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "register-ignore" -d 'Register this host, whatever its key is (REGISTER AND IGNORE ...)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "unregister" -d 'Remove the registration of this host (REGISTER with no new key)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "reserve" -d 'Reserve the disk (RESERVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "release" -d 'Release the reservation (RELEASE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "clear" -d 'Remove all registrations and the reservation (CLEAR)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "preempt" -d 'Remove registrations by key and take over the reservation (PREEMPT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "preempt-abort" -d 'Preempt, and abort the commands of the victim (PREEMPT AND ABORT)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "move" -d 'Move the reservation to another initiator (REGISTER AND MOVE)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "replace-lost" -d 'Register and reserve after the disk lost its reservations'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "simulate" -d 'Serve simulated disks at --socket until interrupted'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "validate" -d 'Test a disk with the command sequences of cluster software'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and not __fish_seen_subcommand_from ping doctor all keys reservation capabilities status compare watch bench state log trace reload register register-ignore unregister reserve release clear preempt preempt-abort move replace-lost simulate validate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "enable" -d 'Enable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "disable" -d 'Disable trace events'
complete -c qemu-pr-ctl -n "__fish_qemu_pr_ctl_using_subcommand help; and __fish_seen_subcommand_from trace" -f -a "list" -d 'List the enabled trace events'
