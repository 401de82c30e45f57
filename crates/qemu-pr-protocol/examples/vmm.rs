//! A virtual machine monitor that serves its guest's PERSISTENT RESERVE commands through a helper, in its own event loop:
//! `vmm SOCKET DISK`. The guest is a socket here: a datagram is a command (a CDB of 16 bytes and its parameter list), or
//! the guest's end if it is empty. Each is answered with a datagram of status, sense data and parameter data.

use std::{
    env, error::Error, fs::File, io, os::fd::AsFd, os::unix::net::UnixDatagram, os::unix::net::UnixStream, thread,
};

use qemu_pr_protocol::{ClientConnection, ClientStep, MAX_DATA, Reply, channel};
use rustix::event::{PollFd, PollFlags, poll};
use scsi_persistent_reservations::{Cdb, InAction, PersistentReserveIn, ReadKeys, Sense, SenseCode, Status};

/// Serves a guest until its end. A real monitor has more than these two in its event loop.
pub fn serve(helper: &UnixStream, disk: &File, guest: &UnixDatagram) -> Result<(), Box<dyn Error>> {
    helper.set_nonblocking(true)?;
    let mut connection = ClientConnection::new();
    let mut buffer = [0; 16 + MAX_DATA];
    loop {
        let write = if connection.next_write().is_some() { PollFlags::OUT } else { PollFlags::empty() };
        let mut ready = [PollFd::new(helper, PollFlags::IN | write), PollFd::new(guest, PollFlags::IN)];
        poll(&mut ready, None)?;
        let [from_helper, from_guest] = ready.map(|fd| fd.revents());
        if from_helper.contains(PollFlags::OUT)
            && let Some(next) = connection.next_write()
        {
            let sent = match next.descriptor {
                Some(disk) => channel::send_with_descriptor(helper, next.bytes, &[], *disk),
                None => channel::send(helper, next.bytes, &[]),
            };
            connection.written(sent?);
        }
        if from_helper.intersects(PollFlags::IN | PollFlags::HUP) {
            // Never more than is needed; no bytes are the helper's end.
            let room = connection.needs();
            let length = channel::receive(helper, &mut buffer[..room])?;
            if length == 0 {
                connection.end()?;
                return Err("the helper closed the connection; connect again".into());
            }
            if let ClientStep::Reply(reply) = connection.feed(&buffer[..length])? {
                answer(guest, &reply)?;
            }
        }
        if from_guest.contains(PollFlags::IN) {
            let length = guest.recv(&mut buffer)?;
            let Some((cdb, parameters)) = buffer[..length].split_first_chunk() else { return Ok(()) };
            // What is no command for a helper is not sent: it would close the connection.
            let refused = match Cdb::new(*cdb) {
                Err(_) => Some(SenseCode::INVALID_OPERATION_CODE),
                Ok(cdb) => {
                    connection.request(disk.as_fd(), &cdb, parameters).err().map(|_| SenseCode::INVALID_FIELD_IN_CDB)
                }
            };
            if let Some(code) = refused {
                let (status, sense) = (Status::CHECK_CONDITION, Sense::fixed(code));
                answer(guest, &Reply { status, sense, data: Vec::new() })?;
            }
        }
    }
}

fn answer(guest: &UnixDatagram, reply: &Reply) -> io::Result<usize> {
    guest.send(&[&[reply.status.0][..], reply.sense.as_bytes(), &reply.data].concat())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [socket, disk] = &arguments[..] else { return Err("usage: vmm SOCKET DISK".into()) };
    let (helper, disk) = (UnixStream::connect(socket)?, File::options().read(true).write(true).open(disk)?);
    let (monitor, guest) = UnixDatagram::pair()?;
    // The guest asks once which keys are registered.
    let asking = thread::spawn(move || -> io::Result<Vec<u8>> {
        guest.send(PersistentReserveIn::new(InAction::ReadKeys, 8192).cdb().as_bytes())?;
        let mut answer = vec![0; 1 + 96 + MAX_DATA];
        let length = guest.recv(&mut answer)?;
        guest.send(&[])?;
        answer.truncate(length);
        Ok(answer)
    });
    serve(&helper, &disk, &monitor)?;
    let answer = asking.join().map_err(|_| "the guest has no answer")??;
    println!("{}, {:?}", Status(answer[0]), ReadKeys::parse(&answer[97..]));
    Ok(())
}
