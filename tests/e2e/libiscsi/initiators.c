/*
 * Two initiators for iscsi-test-cu, which takes its persistent reservation tests seriously only over iSCSI: on device
 * nodes it skips 13 of 20 and counts them as passed.
 *
 * Loaded before libiscsi (LD_PRELOAD), this answers in its place. The first initiator's commands go to the device
 * INITIATOR_1 by SG_IO, the second one's (its name ends in -2) to INITIATOR_2. With PR_HELPER_SOCKET, PERSISTENT
 * RESERVE IN and OUT go to the helper that listens there, as QEMU sends them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <scsi/sg.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

enum { PERSISTENT_RESERVE_IN = 0x5e, PERSISTENT_RESERVE_OUT = 0x5f };

/* The helper's limit; the tool asks for more where it reads keys. */
enum { HELPER_MAX_DATA = 8192, HELPER_SENSE = 96, HELPER_REPLY = 8 + HELPER_SENSE };

enum { TIMEOUT_MS = 60 * 1000 };

struct initiator {
	struct iscsi_context *context;
	int device;
	int helper;
};

/* The tool has one connection for each initiator, and logs in again for the next suite. */
static struct initiator initiators[2];

static void give_up(const char *what)
{
	fprintf(stderr, "initiators: %s: %s\n", what, strerror(errno));
	exit(70);
}

static void read_all(int from, void *to, size_t length)
{
	for (char *at = to; length > 0;) {
		ssize_t got = read(from, at, length);

		if (got <= 0)
			give_up("the helper has closed the connection");
		at += got;
		length -= got;
	}
}

static void write_all(int to, const void *from, size_t length)
{
	for (const char *at = from; length > 0;) {
		ssize_t put = write(to, at, length);

		if (put < 0)
			give_up("the helper takes nothing");
		at += put;
		length -= put;
	}
}

static uint32_t number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static int connect_to_helper(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint8_t features[4];
	int helper = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (helper < 0 || connect(helper, (struct sockaddr *)&address, sizeof(address)) < 0)
		give_up(path);
	read_all(helper, features, sizeof(features));
	memset(features, 0, sizeof(features));
	write_all(helper, features, sizeof(features));
	return helper;
}

/* The CDB, with the device's descriptor. */
static void send_cdb(const struct initiator *initiator, const uint8_t cdb[16])
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr aligned;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)cdb, .iov_len = 16 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &initiator->device, sizeof(int));
	if (sendmsg(initiator->helper, &message, 0) != 16)
		give_up("the helper takes no command");
}

/* Status, and what came of data and sense. */
struct outcome {
	int status;
	size_t length;
	uint8_t sense[HELPER_SENSE];
};

static struct outcome through_helper(const struct initiator *initiator, const struct scsi_task *task, uint8_t *data,
				     size_t length)
{
	struct outcome outcome = { 0 };
	uint8_t cdb[16] = { 0 }, reply[HELPER_REPLY];

	memcpy(cdb, task->cdb, task->cdb_size);
	if (cdb[0] == PERSISTENT_RESERVE_IN && length > HELPER_MAX_DATA) {
		cdb[7] = HELPER_MAX_DATA >> 8;
		cdb[8] = HELPER_MAX_DATA & 0xff;
	}
	send_cdb(initiator, cdb);
	if (cdb[0] == PERSISTENT_RESERVE_OUT)
		write_all(initiator->helper, data, length);
	read_all(initiator->helper, reply, sizeof(reply));
	outcome.status = number(reply);
	outcome.length = number(reply + 4);
	memcpy(outcome.sense, reply + 8, HELPER_SENSE);
	if (outcome.length > length) {
		errno = EPROTO;
		give_up("the helper sends more than was asked for");
	}
	if (cdb[0] == PERSISTENT_RESERVE_IN)
		read_all(initiator->helper, data, outcome.length);
	return outcome;
}

static struct outcome by_sg_io(const struct initiator *initiator, struct scsi_task *task, uint8_t *data, size_t length)
{
	struct outcome outcome = { 0 };
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.cmdp = task->cdb,
		.cmd_len = task->cdb_size,
		.dxferp = data,
		.dxfer_len = length,
		.sbp = outcome.sense,
		.mx_sb_len = sizeof(outcome.sense),
		.timeout = TIMEOUT_MS,
		.dxfer_direction = length == 0			      ? SG_DXFER_NONE
				   : task->xfer_dir == SCSI_XFER_WRITE ? SG_DXFER_TO_DEV
								      : SG_DXFER_FROM_DEV,
	};

	if (ioctl(initiator->device, SG_IO, &io) < 0)
		give_up("SG_IO");
	if (io.host_status != 0) {
		errno = EIO;
		give_up("the transport");
	}
	outcome.status = io.status;
	outcome.length = length - io.resid;
	return outcome;
}

/* What the tool sends may lie in pieces. */
static size_t gather(const struct scsi_task *task, const struct iscsi_data *given, uint8_t **data)
{
	const struct scsi_iovector *out = &task->iovector_out;
	size_t length = 0;

	for (int i = 0; i < out->niov; i++)
		length += out->iov[i].iov_len;
	if (given != NULL)
		length += given->size;
	*data = calloc(1, length + 1);
	length = 0;
	for (int i = 0; i < out->niov; i++) {
		memcpy(*data + length, out->iov[i].iov_base, out->iov[i].iov_len);
		length += out->iov[i].iov_len;
	}
	if (given != NULL) {
		memcpy(*data + length, given->data, given->size);
		length += given->size;
	}
	return length;
}

/* What came goes where the tool wants it, or stays with the task. */
static void scatter(struct scsi_task *task, uint8_t *data, size_t length)
{
	const struct scsi_iovector *in = &task->iovector_in;
	size_t done = 0;

	if (in->niov == 0) {
		task->datain.data = data;
		task->datain.size = length;
		return;
	}
	for (int i = 0; i < in->niov && done < length; i++) {
		size_t part = in->iov[i].iov_len < length - done ? in->iov[i].iov_len : length - done;

		memcpy(in->iov[i].iov_base, data + done, part);
		done += part;
	}
	free(data);
}

static struct initiator *of(struct iscsi_context *context)
{
	for (int i = 0; i < 2; i++)
		if (initiators[i].context == context)
			return &initiators[i];
	errno = ENOENT;
	give_up("a connection that was never made");
	return NULL;
}

struct iscsi_context *iscsi_create_context(const char *name)
{
	struct iscsi_context *(*real)(const char *) = dlsym(RTLD_NEXT, "iscsi_create_context");
	size_t length = strlen(name);
	int second = length > 2 && strcmp(name + length - 2, "-2") == 0;
	struct initiator *initiator = &initiators[second];
	const char *device = getenv(second ? "INITIATOR_2" : "INITIATOR_1");
	const char *socket = getenv("PR_HELPER_SOCKET");

	if (initiator->context != NULL) {
		close(initiator->device);
		close(initiator->helper);
	}
	initiator->device = open(device, O_RDWR | O_CLOEXEC);
	if (initiator->device < 0)
		give_up(device);
	initiator->helper = socket == NULL ? -1 : connect_to_helper(socket);
	initiator->context = real(name);
	return initiator->context;
}

int iscsi_full_connect_sync(struct iscsi_context *context, const char *portal, int lun)
{
	(void)portal;
	(void)lun;
	of(context);
	return 0;
}

int iscsi_logout_sync(struct iscsi_context *context)
{
	(void)context;
	return 0;
}

int iscsi_service(struct iscsi_context *context, int revents)
{
	(void)context;
	(void)revents;
	return 0;
}

struct scsi_task *iscsi_scsi_command_sync(struct iscsi_context *context, int lun, struct scsi_task *task,
					  struct iscsi_data *given)
{
	const struct initiator *initiator = of(context);
	int is_pr = task->cdb[0] == PERSISTENT_RESERVE_IN || task->cdb[0] == PERSISTENT_RESERVE_OUT;
	struct outcome outcome;
	uint8_t *data;
	size_t length;

	(void)lun;
	if (task->xfer_dir == SCSI_XFER_WRITE) {
		length = gather(task, given, &data);
	} else {
		length = task->xfer_dir == SCSI_XFER_READ ? task->expxferlen : 0;
		data = calloc(1, length + 1);
	}
	outcome = is_pr && initiator->helper >= 0 ? through_helper(initiator, task, data, length)
						  : by_sg_io(initiator, task, data, length);
	task->status = outcome.status;
	task->residual_status = SCSI_RESIDUAL_NO_RESIDUAL;
	task->residual = 0;
	if (outcome.status == SCSI_STATUS_CHECK_CONDITION) {
		scsi_parse_sense_data(&task->sense, outcome.sense);
	}
	if (task->xfer_dir != SCSI_XFER_READ) {
		free(data);
		return task;
	}
	if (outcome.length < length) {
		task->residual_status = SCSI_RESIDUAL_UNDERFLOW;
		task->residual = length - outcome.length;
	}
	scatter(task, data, outcome.length);
	return task;
}

struct scsi_task *iscsi_testunitready_sync(struct iscsi_context *context, int lun)
{
	struct scsi_task *task = scsi_cdb_testunitready();

	return iscsi_scsi_command_sync(context, lun, task, NULL);
}
