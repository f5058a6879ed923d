package worker

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// contain puts a child that has just started, and has not been handed anything yet, into a job: it may start no other process, hold no more memory, touch
// nothing of the desktop, stands back behind other programs, and ends when the function that is returned is called or this process ends.
func contain(p *os.Process, memory int64) (guards []string, end func(), err error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("making a job object: %w", err)
	}
	end = func() { _ = windows.CloseHandle(job) }
	defer func() {
		if err != nil {
			end()
			err = fmt.Errorf("putting it into a job object: %w", err)
		}
	}()
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY | windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS |
		windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION | windows.JOB_OBJECT_LIMIT_PRIORITY_CLASS
	limits.BasicLimitInformation.ActiveProcessLimit = 1
	limits.BasicLimitInformation.PriorityClass = windows.BELOW_NORMAL_PRIORITY_CLASS
	limits.ProcessMemoryLimit = uintptr(memory)
	if _, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		return nil, nil, err
	}
	desktop := windows.JOBOBJECT_BASIC_UI_RESTRICTIONS{UIRestrictionsClass: windows.JOB_OBJECT_UILIMIT_DESKTOP | windows.JOB_OBJECT_UILIMIT_DISPLAYSETTINGS |
		windows.JOB_OBJECT_UILIMIT_EXITWINDOWS | windows.JOB_OBJECT_UILIMIT_GLOBALATOMS | windows.JOB_OBJECT_UILIMIT_HANDLES | windows.JOB_OBJECT_UILIMIT_READCLIPBOARD |
		windows.JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS | windows.JOB_OBJECT_UILIMIT_WRITECLIPBOARD}
	if _, err = windows.SetInformationJobObject(job, windows.JobObjectBasicUIRestrictions, uintptr(unsafe.Pointer(&desktop)), uint32(unsafe.Sizeof(desktop))); err != nil {
		return nil, nil, err
	}
	var assigned error
	if err = p.WithHandle(func(handle uintptr) { assigned = windows.AssignProcessToJobObject(job, windows.Handle(handle)) }); err == nil {
		err = assigned
	}
	if err != nil {
		return nil, nil, err
	}
	return []string{"job object"}, end, nil
}
