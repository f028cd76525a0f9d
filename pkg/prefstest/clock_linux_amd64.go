package prefstest

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// SetClock makes the wall clock of a running process, and of nobody else, go
// ahead of the machine's by whole seconds, or behind it. Its monotonic clock
// goes on as it was: so it is when somebody sets the clock of a machine.
//
// Go asks the kernel's vDSO for the time, a library in the memory of each
// process: its answer is bent there.
func (p *Process) SetClock(tb testing.TB, ahead time.Duration) {
	tb.Helper()
	p.Freeze(tb)
	defer p.Thaw(tb)
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.cmd.Process.Pid), os.O_RDWR, 0)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, memory.Close()) }()
	base, image := vdso(tb, p.cmd.Process.Pid, memory)
	entry := gettime(tb, image)

	bent := bentClock(ahead)
	free := len(image) - len(bent) // behind the library's end its last page is empty
	if old := image[free:]; image[entry] != jump {
		require.Equal(tb, make([]byte, len(bent)), old, "there is room")
	}
	_, err = memory.WriteAt(bent, base+int64(free))
	require.NoError(tb, err)
	_, err = memory.WriteAt(binary.LittleEndian.AppendUint32([]byte{jump}, uint32(free-entry-jumpSize)), base+int64(entry))
	require.NoError(tb, err)
}

const (
	jump     = 0xe9 // to a distance of four bytes
	jumpSize = 5
)

// bentClock is clock_gettime in machine code.
func bentClock(ahead time.Duration) []byte {
	return slices.Concat(
		[]byte{0xb8, 228, 0, 0, 0}, // mov eax, SYS_clock_gettime
		[]byte{0x0f, 0x05},         // syscall
		[]byte{0x85, 0xc0},         // test eax, eax
		[]byte{0x75, 19},           // jnz: it failed
		[]byte{0x85, 0xff},         // test edi, edi
		[]byte{0x75, 15},           // jnz: not CLOCK_REALTIME
		[]byte{0x48, 0xb8},         // mov rax, ahead
		binary.LittleEndian.AppendUint64(nil, uint64(int64(ahead.Seconds()))),
		[]byte{0x48, 0x01, 0x06}, // add [rsi], rax
		[]byte{0x31, 0xc0},       // xor eax, eax
		[]byte{0xc3},             // ret
	)
}

// vdso finds where the library lies in a process, and reads it.
func vdso(tb testing.TB, pid int, memory *os.File) (base int64, image []byte) {
	tb.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(tb, err)
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		if strings.HasSuffix(lines.Text(), "[vdso]") {
			var end int64
			_, err := fmt.Sscanf(lines.Text(), "%x-%x", &base, &end)
			require.NoError(tb, err)
			image = make([]byte, end-base)
		}
	}
	require.NotEmpty(tb, image)
	_, err = memory.ReadAt(image, base)
	require.NoError(tb, err)
	return base, image
}

// gettime is where in the library clock_gettime begins.
func gettime(tb testing.TB, image []byte) int {
	tb.Helper()
	library, err := elf.NewFile(bytes.NewReader(image))
	require.NoError(tb, err)
	symbols, err := library.DynamicSymbols()
	require.NoError(tb, err)
	at := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "__vdso_clock_gettime" })
	require.GreaterOrEqual(tb, at, 0)
	return int(symbols[at].Value)
}
