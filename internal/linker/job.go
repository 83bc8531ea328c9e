package linker

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"xaltpipe/internal/standin"
	"xaltpipe/internal/xalt"
)

// A large output takes longer to hash than to be made by a fast linker, and the
// build waits for it. So it is hashed after the linker has ended, by a side job:
// a process of a session of its own, of the lowest priority, which holds none of
// the build's files open but the output. What is hashed is what the linker has
// made, or nothing is: the output is held open, so that it may be renamed,
// replaced and removed, and it is watched, so that what strip and others change
// in it is noticed. The watch begins before the build goes on. An output that
// was changed has the hash "unknown".

// large is the size, in bytes, from which an output is hashed by a side job: a
// side job costs about as much as two milliseconds of hashing.
const large = 4 << 20

// What a side job finds open. The last is standin.LinkLast.
const (
	jobOutput descriptor = 3
	jobWatch  descriptor = 4 // inotify's
	jobLink   descriptor = 5 // what is known of the link
)

// later lets a side job record a link. The output is open.
func (l *link) later(m *made, output descriptor) error {
	watch, err := watched(output)
	if err != nil {
		l.cfg.tracef("the output cannot be watched: %v", err)
		return err
	}
	defer watch.close()
	var before syscall.Stat_t
	if err := syscall.Fstat(int(output), &before); err != nil {
		return err
	}
	f, err := l.memory()
	if err != nil {
		return err
	}
	if _, err := f.Write(m.encode(&before)); err != nil {
		return err
	}
	closed := ^uintptr(0)
	_, err = syscall.ForkExec(selfPath, l.cfg.Background, &syscall.ProcAttr{
		Env:   l.cfg.Env,
		Files: []uintptr{closed, closed, closed, uintptr(output), uintptr(watch), f.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		l.cfg.tracef("no side job: %v", err)
	}
	return err
}

// watched watches an open file for what changes its content.
func watched(output descriptor) (descriptor, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if _, err := syscall.InotifyAddWatch(fd, fdPath(uintptr(output)), syscall.IN_MODIFY|syscall.IN_CLOSE_WRITE); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return descriptor(fd), nil
}

var errJob = errors.New("this is for xalt-wrap itself")

// Job is the side job: it records a link that was made. Of the configuration
// what matters is what decides over the record.
func Job(cfg Config, sender Sender) error {
	runtime.LockOSThread()
	standin.CloseBehind(standin.LinkLast)
	standin.LowerPriority()
	for fd := jobOutput; fd <= jobLink; fd++ {
		syscall.CloseOnExec(int(fd))
	}
	text := make([]byte, 0, 64<<10)
	for {
		n, err := jobLink.ReadAt(text[len(text):cap(text)], int64(len(text)))
		if text = text[:len(text)+n]; n == 0 {
			break
		}
		if err == nil {
			if len(text) > 2*maxTrace {
				return errJob
			}
			text = append(make([]byte, 0, 2*cap(text)), text...)
		}
	}
	m, before, err := decodeMade(text)
	if err != nil {
		return err
	}
	if m.hash, err = jobOutput.hash(); err != nil {
		cfg.tracef("no record: %v", err)
		return nil
	}
	m.complete(&cfg, fdPath(uintptr(jobOutput)))
	if changed(jobOutput, jobWatch, before) {
		m.hash = xalt.Unknown
	}
	cfg.tracef("linked %q, %d libraries, %d functions, %s", m.exec, len(m.libraries), len(m.functions), m.uuid)
	sender.Send(xalt.KindLink, "link_"+m.uuid, m.text())
	return nil
}

// changed reports whether a file's content is another one than before. The
// time alone does not tell: it is coarse, and can be set.
func changed(output, watch descriptor, before string) bool {
	var now syscall.Stat_t
	if err := syscall.Fstat(int(output), &now); err != nil || version(&now) != before {
		return true
	}
	var event [4096]byte
	n, _ := watch.Read(event[:])
	return n > 0
}

// version tells states of a file apart, as far as its size and time do.
func version(s *syscall.Stat_t) string {
	return strconv.FormatInt(s.Size, 10) + " " + strconv.FormatInt(s.Mtim.Nano(), 10)
}

// encode writes what decodeMade reads: texts, each with its length before it.
func (m *made) encode(output *syscall.Stat_t) []byte {
	texts := []string{
		version(output), m.uuid, m.program, m.path, m.user, m.host, m.syshost, m.wd, m.exec, strconv.FormatInt(m.time.UnixNano(), 10),
		m.object, string([]byte{byte(m.form)}),
	}
	var p []byte
	for _, s := range append(texts, m.line...) {
		p = binary.LittleEndian.AppendUint32(p, uint32(len(s)))
		p = append(p, s...)
	}
	p = binary.LittleEndian.AppendUint32(p, endOfTexts)
	return append(p, m.told...)
}

const endOfTexts = 1<<32 - 1

func decodeMade(p []byte) (m made, before string, err error) {
	var texts []string
	for {
		if len(p) < 4 {
			return m, "", errJob
		}
		n := binary.LittleEndian.Uint32(p)
		if p = p[4:]; n == endOfTexts {
			break
		}
		if uint64(n) > uint64(len(p)) {
			return m, "", errJob
		}
		texts = append(texts, string(p[:n]))
		p = p[n:]
	}
	const least = 12
	if len(texts) < least || len(texts[11]) != 1 {
		return m, "", errJob
	}
	at, err := strconv.ParseInt(texts[9], 10, 64)
	if err != nil {
		return m, "", errJob
	}
	m.uuid, m.program, m.path, m.user, m.host, m.syshost = texts[1], texts[2], texts[3], texts[4], texts[5], texts[6]
	m.wd, m.exec, m.time, m.object, m.form, m.line = texts[7], texts[8], time.Unix(0, at), texts[10], form(texts[11][0]), texts[least:]
	m.told = p
	return m, texts[0], nil
}
