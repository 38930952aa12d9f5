// Package supervisor is the one process that holds a sandbox together. It lives
// in namespaces of its own (network, processes, mounts and, when the caller is
// not root, users), prepares the network there, starts processes on request and
// reports on them. It restarts nothing by itself: a test that kills a component
// wants it dead.
//
// The supervisor is process 1 of its process namespace. When it ends, for
// whatever reason, the kernel kills all that was started inside, so no sandbox
// can leave a process behind. Where process namespaces cannot be used (a
// container that hides parts of /proc) it does without, marks its children to
// die with it, and adopts and kills orphans itself.
package supervisor
