package unpack

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

// partitioned makes a disk of size sectors with the table that a script of sfdisk says.
func partitioned(t *testing.T, sectors int64, script string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, sectors*diskSector); err != nil {
		t.Fatal(err)
	}
	tool, err := exec.LookPath("sfdisk")
	if err != nil {
		t.Skipf("the reference tool is not there: %v", err)
	}
	cmd := exec.Command(tool, "--quiet", path)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDisk reads tables that sfdisk writes, and compares the partitions with 7-Zip's, which names them otherwise and gives those that are extended, too.
func TestDisk(t *testing.T) {
	volume := fatImage(t, 1440, map[string][]byte{"a.txt": []byte("in a partition")})
	for name, c := range map[string]struct {
		script string
		want   []string
		at     int64 // sector of the FAT volume, which is the first partition
	}{
		"GPT": {"label: gpt\nstart=2048, size=2880, type=U, name=\"EFI/system\"\nstart=6144, size=100, type=L\n", []string{"partition 1 (EFI_system).img", "partition 2 (Linux).img"}, 2048},
		"MBR": {"label: dos\nstart=2048, size=2880, type=1\nstart=6144, size=8000, type=5\nstart=8000, size=500, type=83\nstart=9000, size=600, type=7\nstart=15000, size=9, type=da\n",
			[]string{"partition 1 (FAT12).img", "partition 2 (type 0xda).img", "partition 3 (Linux).img", "partition 4 (NTFS).img"}, 2048},
	} {
		t.Run(name, func(t *testing.T) {
			b := partitioned(t, 20_000, c.script)
			copy(b[c.at*diskSector:], volume)
			for _, i := range []int64{6145, 8001, 9001, 15_001} { // the others differ
				b[i*diskSector] = byte(i)
			}
			detected(t, b, filetype.Disk)
			got, err := list(t, filetype.Disk, b, Options{})
			if err != nil {
				t.Error(err)
			}
			var names []string
			ours := map[string]bool{}
			for i, e := range got {
				names = append(names, e.Path)
				got[i].Path = ""
				ours[got[i].String()] = true
			}
			if diff := cmp.Diff(c.want, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if e := got[0]; e.SHA256 != sum(volume) {
				t.Errorf("the volume differs: %v", e)
			}
			theirs := map[string]bool{}
			for _, e := range unpackedBy7z(t, b, "-t"+strings.ToLower(name)) {
				e.Path = ""
				theirs[e.String()] = true
			}
			for e := range ours {
				if !theirs[e] {
					t.Errorf("7-Zip has not %s, but %v", e, theirs)
				}
			}
		})
	}
}

// TestAppleMap reads a partition map of Apple's.
func TestAppleMap(t *testing.T) {
	b := make([]byte, 20*diskSector)
	copy(b, "ER\x02\x00")
	add := func(i int, name, kind string, at, n uint32) {
		e := b[(i+1)*diskSector:]
		copy(e, "PM")
		binary.BigEndian.PutUint32(e[4:], 3)
		binary.BigEndian.PutUint32(e[8:], at)
		binary.BigEndian.PutUint32(e[12:], n)
		copy(e[16:48], name)
		copy(e[48:80], kind)
	}
	add(0, "Apple", "Apple_partition_map", 1, 3)
	add(1, "disk/image", "Apple_HFS", 10, 2)
	add(2, "", "Apple_HFSX", 100, 2)
	copy(b[10*diskSector:], "content")
	detected(t, b, filetype.Disk)
	got, err := list(t, filetype.Disk, b, Options{})
	want := []entry{{Path: "partition 2 (disk_image Apple_HFS).img", Size: 1024, SHA256: sum(b[10*diskSector : 12*diskSector])},
		{Path: "partition 3 (Apple_HFSX).img", Size: 1024, Err: "disk: member partition 3 (Apple_HFSX).img: it lies beyond the end of the image"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, members (-want +got):\n%s", err, diff)
	}
}

// TestVirtual reads disks of each kind that qemu-img makes, fixed, growing and compressed, with partitions and without.
func TestVirtual(t *testing.T) {
	volume := fatImage(t, 1440, map[string][]byte{"a.txt": []byte("in a partition")})
	disk := partitioned(t, 20_000, "label: dos\nstart=2048, size=2880, type=1\nstart=8192, size=4000, type=83\n")
	copy(disk[2048*diskSector:], volume)
	for i := 9000; i < 12_000; i += 7 {
		disk[i*diskSector] = byte(i)
	}
	for name, content := range map[string][]byte{"partitions": disk, "one volume": volume} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		for kind, args := range map[string][]string{
			"VHD fixed": {"-O", "vpc", "-o", "force_size=on,subformat=fixed"}, "VHD growing": {"-O", "vpc", "-o", "force_size=on,subformat=dynamic"},
			"QCOW 2": {"-O", "qcow2", "-o", "compat=0.10"}, "QCOW 3": {"-O", "qcow2"}, "QCOW compressed": {"-c", "-O", "qcow2"}, "QCOW small": {"-c", "-O", "qcow2", "-o", "cluster_size=512"},
			"VMDK": {"-O", "vmdk"}, "VMDK compressed": {"-O", "vmdk", "-o", "subformat=streamOptimized"}, "VDI": {"-O", "vdi"}, "VDI fixed": {"-O", "vdi", "-o", "static=on"},
			"VHDX fixed": {"-O", "vhdx", "-o", "subformat=fixed"}, "VHDX growing": {"-O", "vhdx", "-o", "subformat=dynamic,block_size=1048576"},
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "x.vhd")
				run(t, ".", "qemu-img", append(append([]string{"convert", "-f", "raw"}, args...), path, out)...)
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				detected(t, b, filetype.Virtual)
				want := []entry{{Path: "disk.img", Size: int64(len(content)), SHA256: sum(content)}}
				if name == "partitions" {
					want = []entry{{Path: "partition 1 (FAT12).img", Size: int64(len(volume)), SHA256: sum(volume)},
						{Path: "partition 2 (Linux).img", Size: 4000 * diskSector, SHA256: sum(disk[8192*diskSector:][:4000*diskSector])}}
				}
				got, err := list(t, filetype.Virtual, b, Options{})
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%v, members (-want +got):\n%s", err, diff)
				}
			})
		}
	}
	base := filepath.Join(t.TempDir(), "base")
	run(t, ".", "qemu-img", "create", "-q", "-f", "raw", base, "10M")
	for kind, want := range map[string]string{"qcow2": "it holds only what changed of another disk, which is another file", "zstd": "it has features (0x8) that are not read"} {
		path := filepath.Join(t.TempDir(), "x")
		if kind == "zstd" {
			run(t, ".", "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", path, "10M")
		} else {
			run(t, ".", "qemu-img", "create", "-q", "-f", kind, "-b", base, "-F", "raw", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		detected(t, b, filetype.Virtual)
		if _, err := list(t, filetype.Virtual, b, Options{}); err == nil || err.Error() != "vhd: "+want {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// vhdOf is a growing disk of size bytes of which nothing was written, whose blocks' header says.
func vhdOf(kind uint32, size uint64, header string, table uint64, blocks, block uint32) []byte {
	be := binary.BigEndian
	b := make([]byte, 3*512)
	copy(b, "conectix\x00\x00\x00\x02\x00\x01\x00\x00")
	be.PutUint64(b[16:], 512)
	be.PutUint64(b[48:], size)
	be.PutUint32(b[60:], kind)
	copy(b[512:], header)
	be.PutUint64(b[512+16:], table)
	be.PutUint32(b[512+28:], blocks)
	be.PutUint32(b[512+32:], block)
	return append(b, b[:512]...)
}

// TestDiskHostile holds what tables of partitions and of blocks may not do.
func TestDiskHostile(t *testing.T) {
	mbr := func(f func(b []byte)) []byte {
		b := make([]byte, 100*diskSector)
		b[510], b[511] = 0x55, 0xaa
		copy(b[446:], "\x00\x00\x00\x00\x05\x00\x00\x00\x0a\x00\x00\x00\x0a\x00\x00\x00")
		f(b)
		return b
	}
	ring := mbr(func(b []byte) {
		b[10*512+510], b[10*512+511] = 0x55, 0xaa
		copy(b[10*512+462:], "\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00")
	})
	gpt := make([]byte, 100*diskSector)
	copy(gpt[512:], "EFI PART")
	binary.LittleEndian.PutUint64(gpt[512+72:], 2)
	binary.LittleEndian.PutUint32(gpt[512+80:], 1<<32-1)
	binary.LittleEndian.PutUint32(gpt[512+84:], 128)
	many := bytes.Clone(gpt)
	many = append(many, make([]byte, 2000*128)...)
	entry := bytes.Clone(gpt)
	copy(entry[1024:], "kind of this one")
	copy(entry[1024+32:], bytes.Repeat([]byte{0xff}, 16))
	binary.LittleEndian.PutUint32(entry[512+80:], 1)
	zero := make([]byte, 2048)
	for name, c := range map[string]struct {
		format filetype.Format
		in     []byte
		want   string
	}{
		"no table":           {filetype.Disk, make([]byte, 2048), "disk: no table of partitions is there"},
		"ring":               {filetype.Disk, ring, "<nil>"},
		"logical, not there": {filetype.Disk, mbr(func([]byte) {}), "disk: the table of logical partitions at sector 10 is damaged"},
		"2^32 partitions":    {filetype.Disk, gpt, "disk: the data ends too early"},
		"many":               {filetype.Disk, many, "disk: the GUID partition table has room for 4294967295 partitions, of which 1024 are looked at"},
		"no footer":          {filetype.Virtual, zero, "vhd: its footer is missing"},
		"differences":        {filetype.Virtual, vhdOf(4, 1<<20, "", 0, 0, 0), "vhd: it holds only what changed of another disk, which is another file"},
		"kind":               {filetype.Virtual, vhdOf(9, 1<<20, "", 0, 0, 0), "vhd: a disk of the kind 9 is not read"},
		"no header":          {filetype.Virtual, vhdOf(3, 1<<20, "", 0, 0, 0), "vhd: the header of its blocks is missing"},
		"blocks of a byte":   {filetype.Virtual, vhdOf(3, 1<<20, "cxsparse", 0, 9, 1), "vhd: the header of its blocks is damaged"},
		"2^60 bytes":         {filetype.Virtual, vhdOf(3, 1<<60, "cxsparse", 0, 9, 1<<20), "vhd: the header of its blocks is damaged"},
		"blocks nowhere":     {filetype.Virtual, vhdOf(3, 1<<20, "cxsparse", 1<<40, 9, 1<<20), "vhd: member disk.img: the data ends too early"},
	} {
		members, err := list(t, c.format, c.in, Options{})
		got := fmt.Sprint(err)
		if err == nil && len(members) > 0 {
			got = members[0].Err
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	got, err := list(t, filetype.Disk, entry, Options{})
	if err != nil || len(got) != 1 || !strings.HasSuffix(got[0].Err, "it lies beyond the end of the image") {
		t.Errorf("a partition of 2^64 sectors: %v, %v", got, err)
	}
	// What was not written is zeros, and ends where the disk does.
	d := &blockDisk{block: 4096, size: 10_000, place: func(int64) (int64, int64, error) { return -1, 0, nil }}
	b, err := io.ReadAll(io.NewSectionReader(d, 0, 1<<40))
	if err != nil || !bytes.Equal(b, make([]byte, 10_000)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// vhdxOf is a disk of 1 GiB of which nothing was written. change may spoil its headers, regions and metadata.
func vhdxOf(change func(head, regions, metadata []byte)) []byte {
	le := binary.LittleEndian
	b := make([]byte, 448<<10)
	copy(b, "vhdxfile")
	head, regions, metadata := b[64<<10:128<<10], b[192<<10:256<<10], b[256<<10:320<<10]
	copy(head, "head")
	copy(regions, "regi")
	copy(regions[16:], vhdxBlocks)
	le.PutUint64(regions[32:], 384<<10)
	copy(regions[48:], vhdxMetadata)
	le.PutUint64(regions[64:], 256<<10)
	copy(metadata, "metadata")
	for i, v := range []struct {
		guid  string
		value uint64
	}{{vhdxFile, 1 << 20}, {vhdxSize, 1 << 30}, {vhdxSector, 512}} {
		copy(metadata[32+32*i:], v.guid)
		le.PutUint32(metadata[32+32*i+16:], uint32(1024+8*i))
		le.PutUint64(metadata[1024+8*i:], v.value)
	}
	if change != nil {
		change(head, regions, metadata)
	}
	return b
}

// TestVHDXHostile holds what a disk of Hyper-V may not do.
func TestVHDXHostile(t *testing.T) {
	const whole = "the disk"
	for name, c := range map[string]struct {
		change func(head, regions, metadata []byte)
		want   string
	}{
		"good":             {nil, whole},
		"not closed":       {func(head, _, _ []byte) { head[50] = 1 }, "vhd: it was not closed: its log would have to be written first"},
		"no regions":       {func(_, regions, _ []byte) { regions[0] = 0 }, "vhd: the table of its regions is missing"},
		"no metadata":      {func(_, regions, _ []byte) { regions[48] = 0 }, "vhd: its metadata are missing"},
		"metadata beyond":  {func(_, regions, _ []byte) { regions[71] = 0x7f }, "vhd: its metadata are missing"},
		"no blocks":        {func(_, regions, _ []byte) { regions[16] = 0 }, "vhd: its metadata are damaged"},
		"blocks of a byte": {func(_, _, metadata []byte) { copy(metadata[1024:], "\x01\x00\x00") }, "vhd: its metadata are damaged"},
		"2^63 bytes":       {func(_, _, metadata []byte) { metadata[1032+7] = 0x7f }, "vhd: its metadata are damaged"},
		"sectors":          {func(_, _, metadata []byte) { metadata[1040] = 1 }, "vhd: its metadata are damaged"},
		"differences":      {func(_, _, metadata []byte) { metadata[1028] = 2 }, "vhd: it holds only what changed of another disk, which is another file"},
		"table beyond":     {func(_, regions, _ []byte) { regions[34] = 0x70 }, "vhd: member disk.img: the data ends too early"},
	} {
		var told string
		in := vhdxOf(c.change)
		err := Each(context.Background(), filetype.Virtual, bytes.NewReader(in), int64(len(in)), Options{}, func(m Member) error {
			told = whole
			if _, err := io.CopyN(io.Discard, m.Reader, 4<<20); err != nil {
				told = err.Error()
			}
			return nil
		})
		if err != nil {
			told = err.Error()
		}
		if told != c.want {
			t.Errorf("%s: %s, want %s", name, told, c.want)
		}
	}
}

func FuzzVHDX(f *testing.F) {
	vhdxOf(func(_, regions, metadata []byte) { f.Add(make([]byte, 64), regions[:128], metadata[:1048], []byte{6}) })
	f.Fuzz(func(t *testing.T, h, r, m, blocks []byte) {
		b := vhdxOf(func(head, regions, metadata []byte) {
			copy(head[4:], h)
			copy(regions, r)
			copy(metadata, m)
		})
		copy(b[384<<10:], blocks)
		unpackAny(t, filetype.Virtual, b)
	})
}

// virtualDisks are small disks of other kinds, each of which holds a cluster of its own bytes, then zeros.
func virtualDisks() map[string][]byte {
	be, le := binary.BigEndian, binary.LittleEndian
	content := bytes.Repeat([]byte("content."), 64)
	qcow := make([]byte, 3*512)
	copy(qcow, "QFI\xfb\x00\x00\x00\x03")
	be.PutUint32(qcow[20:], 9)
	be.PutUint64(qcow[24:], 2048)
	be.PutUint32(qcow[36:], 1)
	be.PutUint64(qcow[40:], 512)
	be.PutUint64(qcow[512:], 1024)
	be.PutUint64(qcow[1024:], 1536)
	vmdk := make([]byte, 3*512)
	copy(vmdk, "KDMV\x01")
	le.PutUint64(vmdk[12:], 4)
	le.PutUint64(vmdk[20:], 1)
	le.PutUint32(vmdk[44:], 512)
	le.PutUint64(vmdk[56:], 1)
	le.PutUint32(vmdk[512:], 2)
	le.PutUint32(vmdk[1024:], 3)
	vdi := make([]byte, 1024)
	copy(vdi[0x40:], "\x7f\x10\xda\xbe")
	for at, v := range map[int]uint32{0x4c: 1, 0x154: 512, 0x158: 1024, 0x170: 8192, 0x178: 4096, 0x180: 2} {
		le.PutUint32(vdi[at:], v)
	}
	le.PutUint32(vdi[516:], 1<<32-1)
	return map[string][]byte{"QCOW": append(qcow, content...), "VMDK": append(vmdk, content...), "VDI": append(vdi, bytes.Repeat(content, 8)...)}
}

// TestVirtualHostile holds what disks of other kinds may not do.
func TestVirtualHostile(t *testing.T) {
	content := bytes.Repeat([]byte("content."), 64)
	disks := virtualDisks()
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"QCOW":               {disks["QCOW"], sum(append(bytes.Clone(content), make([]byte, 1536)...))},
		"VMDK":               {disks["VMDK"], sum(append(bytes.Clone(content), make([]byte, 1536)...))},
		"VDI":                {disks["VDI"], sum(append(bytes.Repeat(content, 8), make([]byte, 4096)...))},
		"QCOW version":       {patch(disks["QCOW"], "QFI", 1, 7, 9), "vhd: version 9 of QEMU's disks is not read"},
		"QCOW encrypted":     {patch(disks["QCOW"], "QFI", 1, 35, 1), "vhd: it is encrypted"},
		"QCOW clusters":      {patch(disks["QCOW"], "QFI", 1, 23, 40), "vhd: its header is damaged"},
		"QCOW 2^63":          {patch(disks["QCOW"], "QFI", 1, 24, 0x7f), "vhd: its header is damaged"},
		"QCOW table beyond":  {patch(disks["QCOW"], "QFI", 1, 44, 0x70), "vhd: member disk.img: the data ends too early"},
		"QCOW packed beyond": {patch(disks["QCOW"], "QFI", 1, 1024, 0x40, 0, 0, 0, 0x7f, 0, 0, 0), "vhd: member disk.img: the data ends too early"},
		"VMDK grains":        {patch(disks["VMDK"], "KDMV", 1, 20, 0), "vhd: its header is damaged"},
		"VMDK 2^63":          {patch(disks["VMDK"], "KDMV", 1, 19, 0x7f), "vhd: its header is damaged"},
		"VMDK footer":        {patch(disks["VMDK"], "KDMV", 1, 56, 255, 255, 255, 255, 255, 255, 255, 255), "vhd: its footer is missing"},
		"VMDK beyond":        {patch(disks["VMDK"], "KDMV", 1, 1024, 0, 0, 0, 0x7f), "vhd: member disk.img: the data ends too early"},
		"VDI blocks":         {patch(disks["VDI"], "\x7f\x10", 1, 0x178-0x40, 0, 0, 0, 0), "vhd: its header is damaged"},
		"VDI differences":    {patch(disks["VDI"], "\x7f\x10", 1, 0x4c-0x40, 4), "vhd: it holds only what changed of another disk, which is another file"},
		"VDI beyond":         {patch(disks["VDI"], "\x7f\x10", 1, 512-0x40, 9, 0, 0, 0), "vhd: member disk.img: the data ends too early"},
	} {
		got, err := list(t, filetype.Virtual, c.in, Options{})
		told := fmt.Sprint(err)
		if err == nil && len(got) == 1 {
			if told = got[0].Err; told == "" {
				told = got[0].SHA256
			}
		}
		if told != c.want {
			t.Errorf("%s: %s, want %s", name, told, c.want)
		}
	}
}

func FuzzDisk(f *testing.F) {
	f.Add(vhdOf(3, 1<<20, "cxsparse", 1024, 9, 1<<20))
	f.Add(vhdOf(2, 1<<10, "", 0, 0, 0))
	for _, b := range virtualDisks() {
		f.Add(b)
	}
	b := make([]byte, 1024)
	b[510], b[511] = 0x55, 0xaa
	copy(b[446:], "\x00\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00")
	f.Add(b)
	f.Add(append(make([]byte, 512), "EFI PART"...))
	f.Add([]byte("ER" + strings.Repeat("\x00", 510) + "PM" + strings.Repeat("\x00", 510)))
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.Disk, b)
		unpackAny(t, filetype.Virtual, b)
	})
}
