package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc. It is 100 a second on every
// architecture Go runs on.
const clockTick = time.Second / 100

// usage reads a process's CPU time and resident memory in bytes from /proc.
func usage(pid int) (cpu time.Duration, rss int64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(data)
}

// parseStat takes utime, stime and rss out of the text of /proc/PID/stat.
func parseStat(data []byte) (cpu time.Duration, rss int64, err error) {
	// The second field, the command's name, may hold spaces and parentheses;
	// counting starts after the last one.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, 0, errors.New("no command name")
	}
	fields := bytes.Fields(data[end+1:]) // fields[0] is field 3, the state
	const utime, stime, resident = 14 - 3, 15 - 3, 24 - 3
	if len(fields) <= resident {
		return 0, 0, fmt.Errorf("got %d fields, want more than %d", len(fields), resident)
	}
	var values [3]int64
	for i, field := range []int{utime, stime, resident} {
		if values[i], err = strconv.ParseInt(string(fields[field]), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("cannot parse field %d: %w", field+3, err)
		}
	}
	return time.Duration(values[0]+values[1]) * clockTick, values[2] * int64(os.Getpagesize()), nil
}
