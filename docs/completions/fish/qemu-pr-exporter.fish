complete -c qemu-pr-exporter -l listen -d 'Address to listen on' -r
complete -c qemu-pr-exporter -l user -d 'User to run as if started as root' -r
complete -c qemu-pr-exporter -l control -d 'Control socket of a helper, or its directory; may be repeated' -r -F
complete -c qemu-pr-exporter -l timeout -d 'Time to wait for an answer at a control socket' -r
complete -c qemu-pr-exporter -l json -d 'Print the address, and an error that ends the program, as JSON'
complete -c qemu-pr-exporter -s h -l help -d 'Print help'
complete -c qemu-pr-exporter -s V -l version -d 'Print version'
