/*
 * The system calls of calls.py without the detours that ctypes takes.
 *
 * None of these calls blocks, so the interpreter's lock is kept. Failure is a negative number: the
 * errno. What they are for and what they return is said in calls.py, by the protocol Calls.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 16 };

/* What a read brings never outlives the turn, or is copied. */
static char buffer[ROOM];

static PyObject *result(ssize_t value) { return PyLong_FromSsize_t(value < 0 ? -errno : value); }

/* So many arguments, all of them integers; false with an exception set. */
static int integers(PyObject *const *given, Py_ssize_t count, long *numbers, Py_ssize_t wanted) {
    if (count != wanted) {
        PyErr_Format(PyExc_TypeError, "%zd arguments expected, %zd given", wanted, count);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        numbers[i] = PyLong_AsLong(given[i]);
        if (numbers[i] == -1 && PyErr_Occurred())
            return 0;
    }
    return 1;
}

/* Whether something is a tuple; false with an exception set. */
static int tuple(PyObject *given) {
    if (PyTuple_Check(given))
        return 1;
    PyErr_SetString(PyExc_TypeError, "a tuple expected");
    return 0;
}

/* Whether a part lies in the buffer; false with an exception set. */
static int within(long start, long end) {
    if (0 <= start && start <= end && end <= ROOM)
        return 1;
    PyErr_SetString(PyExc_ValueError, "outside the buffer");
    return 0;
}

static PyObject *calls_accept(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long listener;
    if (!integers(given, count, &listener, 1))
        return NULL;
    return result(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static PyObject *calls_dial(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long asked[2];
    if (!integers(given, count, asked, 2))
        return NULL;
    return result(socket(asked[0], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, asked[1]));
}

static PyObject *calls_connect(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long descriptor;
    char *address;
    Py_ssize_t length;
    if (!integers(given, count - 1, &descriptor, 1) ||
        PyBytes_AsStringAndSize(given[1], &address, &length))
        return NULL;
    for (int attempt = 0; attempt < 2; attempt++)
        if (connect(descriptor, (struct sockaddr *)address, length) == 0 || errno == EISCONN)
            return PyLong_FromLong(0);
        else if (errno != EINPROGRESS)
            break;
    return PyLong_FromLong(errno);
}

static PyObject *calls_set_options(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long descriptor, option[2];
    char *value;
    Py_ssize_t length;
    if (!integers(given, count - 1, &descriptor, 1) || !tuple(given[1]))
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(given[1]); i++) {
        PyObject *each = PyTuple_GET_ITEM(given[1], i);
        if (!tuple(each) ||
            !integers(&PyTuple_GET_ITEM(each, 0), PyTuple_GET_SIZE(each) - 1, option, 2) ||
            PyBytes_AsStringAndSize(PyTuple_GET_ITEM(each, 2), &value, &length))
            return NULL;
        setsockopt(descriptor, option[0], option[1], value, length);
    }
    Py_RETURN_NONE;
}

static PyObject *calls_read(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long descriptor;
    if (!integers(given, count, &descriptor, 1))
        return NULL;
    return result(recv(descriptor, buffer, ROOM, 0));
}

static PyObject *calls_write(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long asked[3];
    if (!integers(given, count, asked, 3))
        return NULL;
    if (!within(0, asked[1]))
        return NULL;
    return result(send(asked[0], buffer, asked[1], asked[2] | MSG_NOSIGNAL));
}

static PyObject *calls_rest(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long asked[2];
    if (!integers(given, count, asked, 2))
        return NULL;
    if (!within(asked[0], asked[1]))
        return NULL;
    return PyBytes_FromStringAndSize(buffer + asked[0], asked[1] - asked[0]);
}

static PyObject *calls_end_output(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    long descriptor;
    if (!integers(given, count, &descriptor, 1))
        return NULL;
    shutdown(descriptor, SHUT_WR);
    Py_RETURN_NONE;
}

#define CALL(name) {#name, (PyCFunction)(void (*)(void))calls_##name, METH_FASTCALL, NULL}
static PyMethodDef functions[] = {
    CALL(accept), CALL(dial),  CALL(connect), CALL(set_options),
    CALL(read),   CALL(write), CALL(rest),    CALL(end_output),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "hostports.relay.fastcalls",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_fastcalls(void) { return PyModule_Create(&definition); }
