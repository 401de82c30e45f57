//! What others do to the directories, sockets and files of the daemon, and to its start and its end.
