// Package worker runs inspections in child processes that may do nothing but read the file handed to them.
//
// A worker is this very program, started with a hidden command. On Linux it has no network, no file system (Landlock), few system calls (seccomp) and
// limits on memory, processor time and what it writes (rlimits); elsewhere it is only a process of its own, which is killed when it takes too long or
// says too much. It inspects one file after another. One that dies of what it reads costs this one reading, whose reason is kept: a fresh one leaves it
// alone and goes on behind it. One that meets a limit of the whole file costs the rest of it, and the next file gets a fresh one.
//
// Parent and child speak over a pair of sockets, a line of JSON a message. The file comes with its request as a descriptor.
package worker
