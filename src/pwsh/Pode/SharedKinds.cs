using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Globalization;
using System.Management.Automation;
using System.Reflection;

namespace SecretBridge.Pode;

/// <summary>What is shared by all blocks: containers, each with a kind that says how to make another like it.</summary>
internal static class SharedKinds
{
    internal const string Table = "table";

    internal const string List = "list";

    internal const string Custom = "object";

    // Behind the kind of a table that tells `a` from `A`, and of one that does not where its type leaves both open.
    private const string Case = "-case";
    private const string NoCase = "~";

    // Lists that are made without an argument, and filled by one method.
    private static readonly Dictionary<string, string> s_fillers = new()
    {
        ["System.Collections.Queue"] = "Enqueue",
        ["System.Collections.Stack"] = "Push",
        ["System.Collections.Generic.Queue`1"] = "Enqueue",
        ["System.Collections.Generic.Stack`1"] = "Push",
        ["System.Collections.Generic.List`1"] = "Add",
        ["System.Collections.Generic.HashSet`1"] = "Add",
        ["System.Collections.Generic.SortedSet`1"] = "Add",
        ["System.Collections.ObjectModel.Collection`1"] = "Add",
        ["System.Collections.Concurrent.ConcurrentQueue`1"] = "Enqueue",
        ["System.Collections.Concurrent.ConcurrentStack`1"] = "Push",
        ["System.Collections.Concurrent.ConcurrentBag`1"] = "Add",
    };

    private static readonly HashSet<string> s_tables =
    [
        "System.Collections.Generic.Dictionary`2",
        "System.Collections.Generic.SortedDictionary`2",
        "System.Collections.Concurrent.ConcurrentDictionary`2",
        "System.Collections.SortedList",
        Ordered,
    ];

    private const string Ordered = "System.Management.Automation.OrderedHashtable";

    private static readonly Type s_syncTable = Hashtable.Synchronized([]).GetType();

    private static readonly Type s_syncList = ArrayList.Synchronized([]).GetType();

    /// <summary>What a container is, and its kind; null for what cannot travel.</summary>
    internal static (string What, string Kind)? Of(object bare)
    {
        Type type = bare is PSObject ? typeof(PSCustomObject) : bare.GetType();
        string Cased(string kind) => TellsCase((IDictionary)bare) ? kind + Case : kind;
        if (type == typeof(Hashtable))
        {
            return (Table, Cased("hashtable"));
        }
        if (type == s_syncTable)
        {
            return (Table, Cased("sync"));
        }
        if (type == typeof(OrderedDictionary))
        {
            return (Table, Cased("ordered"));
        }
        if (type == typeof(PSCustomObject))
        {
            return (Custom, "");
        }
        if (type == typeof(ArrayList))
        {
            return (List, "arraylist");
        }
        if (type == s_syncList)
        {
            return (List, "synclist");
        }
        if (type == typeof(object[]))
        {
            return (List, "array");
        }
        if (type.IsArray && type.GetArrayRank() == 1)
        {
            return (List, PlainJson.Text(type));
        }
        // A type of the script's own is another one in each process.
        if (Array.Exists(type.GenericTypeArguments, part => part.Assembly.IsDynamic))
        {
            return null;
        }
        string name = NameOf(type);
        if (s_fillers.ContainsKey(name))
        {
            return (List, PlainJson.Text(type));
        }
        if (!s_tables.Contains(name))
        {
            return null;
        }
        bool open = type.Name is "Dictionary`2" or "ConcurrentDictionary`2";
        return (Table, open && !TellsCase((IDictionary)bare) ? PlainJson.Text(type) + NoCase : PlainJson.Text(type));
    }

    /// <summary>The order of its members is no part of a table.</summary>
    internal static bool IsUnordered(IDictionary table) =>
        (table is Hashtable && table.GetType().FullName != Ordered) || table.GetType().Name == "ConcurrentDictionary`2";

    /// <summary>A list whose enumeration begins with what was put in last.</summary>
    internal static bool IsStack(object list) => list.GetType().Name is "Stack" or "Stack`1" or "ConcurrentStack`1";

    /// <summary>A kind that is an array.</summary>
    internal static bool IsArray(string kind) => kind == "array" || kind.EndsWith("[]", StringComparison.Ordinal);

    /// <summary>A kind without what it says about case.</summary>
    internal static string Bare(string kind) =>
        kind.EndsWith(Case, StringComparison.Ordinal) ? kind[..^Case.Length] : kind.EndsWith(NoCase, StringComparison.Ordinal) ? kind[..^NoCase.Length] : kind;

    /// <summary>A new container of a kind; an array has the length.</summary>
    internal static object New(string kind, int length)
    {
        switch (kind)
        {
            case "hashtable":
                return Values.NewTable();
            case "sync":
                return Hashtable.Synchronized(Values.NewTable());
            case "ordered":
                return new OrderedDictionary(StringComparer.CurrentCultureIgnoreCase);
            case "hashtable" + Case:
                return new Hashtable(StringComparer.Ordinal);
            case "sync" + Case:
                return Hashtable.Synchronized(new Hashtable(StringComparer.Ordinal));
            case "ordered" + Case:
                return new OrderedDictionary(StringComparer.Ordinal);
            case "array":
                return new object?[length];
            case "arraylist":
                return new ArrayList();
            case "synclist":
                return ArrayList.Synchronized([]);
        }
        if (IsArray(kind))
        {
            return Array.CreateInstance(TypeOf(kind[..^2]), length);
        }
        return kind.EndsWith(NoCase, StringComparison.Ordinal)
            ? Activator.CreateInstance(TypeOf(Bare(kind)), StringComparer.OrdinalIgnoreCase)!
            : Activator.CreateInstance(TypeOf(kind))!;
    }

    /// <summary>Puts these items into a list in place of what it has.</summary>
    internal static void Fill(object list, object?[] items)
    {
        Type type = list.GetType();
        if (list is Array array)
        {
            for (int i = 0; i < items.Length; i++)
            {
                array.SetValue(Fit(items[i], type.GetElementType()!), i);
            }
            return;
        }
        if (list is ArrayList untyped)
        {
            untyped.Clear();
            untyped.AddRange(items);
            return;
        }
        type.GetMethod("Clear", Type.EmptyTypes)!.Invoke(list, null);
        Type item = type.IsGenericType ? type.GenericTypeArguments[0] : typeof(object);
        MethodInfo put = type.GetMethod(s_fillers[NameOf(type)], [item])!;
        foreach (object? one in items)
        {
            put.Invoke(list, [Fit(one, item)]);
        }
    }

    /// <summary>Puts these members into a table in place of what it has.</summary>
    internal static void Fill(IDictionary table, object[] keys, object?[] values)
    {
        Type[] types = table.GetType().GenericTypeArguments;
        (Type key, Type value) = types.Length == 2 ? (types[0], types[1]) : (typeof(object), typeof(object));
        table.Clear();
        for (int i = 0; i < keys.Length; i++)
        {
            table[Fit(keys[i], key)!] = Fit(values[i], value);
        }
    }

    /// <summary>A type by the name that PowerShell has for it.</summary>
    internal static Type TypeOf(string name) => LanguagePrimitives.ConvertTo<Type>(name);

    private static string NameOf(Type type) => (type.IsGenericType ? type.GetGenericTypeDefinition() : type).FullName ?? "";

    private static object? Fit(object? value, Type type) =>
        (value is null && !type.IsValueType) || type.IsInstanceOfType(value) ? value : LanguagePrimitives.ConvertTo(value, type, CultureInfo.InvariantCulture);

    // A table without names to ask tells it if it is none of PowerShell's own.
    private static bool TellsCase(IDictionary table)
    {
        foreach (object key in table.Keys)
        {
            if (PlainJson.Bare(key) is not string name)
            {
                continue;
            }
            string other = name.ToUpperInvariant() is string upper && upper != name ? upper : name.ToLowerInvariant();
            if (other != name)
            {
                return !table.Contains(other) || HasExactly(table, other);
            }
        }
        return table is not (Hashtable or OrderedDictionary);
    }

    private static bool HasExactly(IDictionary table, string name)
    {
        foreach (object key in table.Keys)
        {
            if (PlainJson.Bare(key) is string other && other == name)
            {
                return true;
            }
        }
        return false;
    }
}
